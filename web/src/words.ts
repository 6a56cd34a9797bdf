// What people are told: numbers, reasons and refusals in plain words, each refusal with what to do next.
import { Refusal } from "./api";
import type { Alternative, Verdict } from "./types";

const ADVICE: Record<string, string> = {
  NotAnImage: "Choose a JPEG, PNG, GIF, WebP, BMP or TIFF. The content counts, not the file's name.",
  UnsupportedFormat: "Save it as JPEG or PNG, and send it again.",
  EmptyObject: "The file is empty. Choose another.",
  TruncatedImage: "The file ends too early. Save or download it again.",
  CorruptImage: "The file is damaged. Save or download it again.",
  TooManyPixels: "Scale the picture down, and send it again.",
  ImageTooSmall: "This model needs at least 80 pixels a side. Choose a larger picture, or another model.",
  BodyTooLarge: "Scale the picture down below 10 MB.",
  TooLarge: "Scale the picture down below 10 MB.",
  ModelRefused: "Try another model, or another picture.",
  EndpointThrottled: "The model is busy. Try again in a moment.",
  EndpointUnavailable: "The model is down, or starting. Try again in a minute.",
  EndpointRefused: "Ask whoever runs this service to look at the model's endpoint.",
  RoleNeeded: "Ask an administrator of the user pool for that role, or sign in as somebody who has it.",
  NoUploads: "Scale the picture down below 4 MiB: this environment takes no larger ones.",
  UploadRefused: "Send it again. If it is over 10 MB, scale it down first.",
  StillWaiting: "Look at the runs: one of them may have failed.",
  NotEvaluated: "Label some pictures, then have it measured: ics accuracy --model NAME",
  RunNotFound: "It may be older than 90 days. The list shows what is left.",
  NoSuchImage: "It may be older than 90 days, or was taken out of the storage.",
  NoAnswer: "Is there a network? Then try again.",
  TableUnavailable: "Try again in a moment.",
  ReadFailed: "Try again in a moment.",
  RoleUnavailable: "Try again in a moment.",
  ReleaseFailed: "It is hidden still. Does it lie in a bucket that this service only reads? Then its owner releases it.",
  InternalError: "Try again. If it stays, tell whoever runs this service the time.",
};

const REASONS: Record<string, string> = {
  QuarantineFailed: "It should be hidden, but could not be: a part of a shard, or not in this service's bucket. Hide it there, now.",
  TagFailed: "It is accepted, but its label could not be written to it.",
  WatchedLabel: "This label is watched: a person is told each time it is seen.",
  Quarantined: "This label is watched, and its pictures are hidden until a reviewer releases them.",
  NothingRead: "No character was found. Look whether there is a line at all.",
  NothingFound: "Nothing was found that the model knows. That does not mean that nothing is there.",
  NotAnImage: "The content is no picture.",
  UnsupportedFormat: "A format that is not read here.",
  TruncatedImage: "The file ends too early.",
  CorruptImage: "The file cannot be decoded.",
  EmptyObject: "The file is empty.",
  ImageTooSmall: "Too small for this model.",
};

/** Why a picture was decided as it was, in a sentence. */
export function why(verdict: Verdict): string {
  const { confidence, threshold, alternatives, reason } = verdict;
  if (verdict.decision === "accepted") {
    return `Accepted: ${percent(confidence)} sure, and ${percent(threshold)} is asked.`;
  }
  if (reason === "BelowThreshold") {
    const second = verdict.text === null ? best(alternatives) : undefined;
    const close =
      second && second.confidence > 0.05
        ? ` The next best answer, ${second.label}, has ${percent(second.confidence)}.`
        : "";
    return `A person should look: it is ${percent(confidence)} sure, and ${percent(threshold)} is asked.${close}`;
  }
  if (reason === "MarginTooSmall") {
    const second = best(alternatives);
    return `A person should look: ${verdict.label} and ${second?.label ?? "the next"} are too close to each other.`;
  }
  return reason ? said(reason) : "";
}

/** A reason as a sentence; one that is not known here keeps its name. */
export function said(reason: string): string {
  if (reason === "BelowThreshold") return "The model is not sure enough.";
  if (reason === "MarginTooSmall") return "The two best answers are too close.";
  return REASONS[reason] ?? ADVICE[reason] ?? reason;
}

export function best(alternatives: Alternative[]): Alternative | undefined {
  return [...alternatives].sort((one, other) => other.confidence - one.confidence)[0];
}

/** What went wrong, and what to do about it. */
export function told(error: unknown): { what: string; advice: string } {
  if (error instanceof Refusal) {
    if (error.status === 429) return { what: "Too many requests at once.", advice: "Wait a few seconds, and try again." };
    return {
      what: sentence(error.message),
      advice: ADVICE[error.kind] ?? (error.status >= 500 ? "Try again in a moment." : ""),
    };
  }
  return { what: error instanceof Error ? sentence(error.message) : "Something went wrong.", advice: "" };
}

function sentence(text: string): string {
  const trimmed = text.trim();
  return trimmed.charAt(0).toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
}

/** A share as people read it: 99.96% is not 100%, nor is 0.01% nothing. */
export function percent(share: number | null | undefined): string {
  if (share === null || share === undefined) return "–";
  const value = share * 100;
  if (value > 0 && value < 0.1) return "<0.1%";
  const shown = value > 99.9 && value < 100 ? 99.9 : value;
  return `${shown === 100 || shown === 0 ? shown.toFixed(0) : shown.toFixed(1)}%`;
}

export function count(number: number | null | undefined, one?: string, many?: string): string {
  if (number === null || number === undefined) return "–";
  const digits = number.toLocaleString("en");
  return one ? `${digits} ${number === 1 ? one : (many ?? `${one}s`)}` : digits;
}

export function bytes(size: number): string {
  return size < 1e6 ? `${Math.max(1, Math.round(size / 1e3))} kB` : `${(size / 1e6).toFixed(1)} MB`;
}

export function moment(at: string | null): string {
  if (!at) return "–";
  const date = new Date(at);
  return Number.isNaN(date.valueOf())
    ? at
    : date.toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
}

export function duration(seconds: number): string {
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60
    ? `${minutes} min ${Math.round(seconds % 60)} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** The last part of an S3 URI. */
export function fileName(uri: string | null): string {
  return uri ? (uri.split("/").pop() ?? uri) : "";
}
