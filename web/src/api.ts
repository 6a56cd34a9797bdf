// Asks the HTTP API; every refusal becomes a `Refusal` that can be shown, an ended sign-in is renewed and asked again.
import { again, session } from "./session";
import type { Image, Upload } from "./types";

export const MOST_AT_ONCE = 4 * 1024 * 1024;
export const MOST = 10_000_000;

/** Seconds that an upload is waited for. */
const PATIENCE = 120;

export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly kind: string,
    detail: string,
  ) {
    super(detail);
  }
}

export interface Asked {
  method?: "GET" | "POST" | "PUT";
  query?: Record<string, string | number | null>;
  json?: unknown;
  body?: Blob;
  signal?: AbortSignal;
}

export async function ask<T>(path: string, asked: Asked = {}): Promise<T> {
  const token = session.get()?.token ?? "";
  const query = Object.entries(asked.query ?? {}).flatMap(([name, one]) => (one === null ? [] : [[name, String(one)]]));
  const search = query.length ? `?${new URLSearchParams(query)}` : "";
  const headers: Record<string, string> = { Authorization: `Bearer ${token}` };
  if (asked.json !== undefined) headers["Content-Type"] = "application/json";
  if (asked.body) headers["Content-Type"] = "application/octet-stream";
  const request: RequestInit = { method: asked.method ?? "GET", headers };
  if (asked.json !== undefined) request.body = JSON.stringify(asked.json);
  if (asked.body) request.body = asked.body;
  if (asked.signal) request.signal = asked.signal;
  const answer = await fetched(path + search, request);
  if (answer.status === 401) {
    await again(token);
    return ask(path, asked);
  }
  if (!answer.ok) throw await refusal(answer);
  return answer.json();
}

/** Send a picture that is too large to be answered at once, and wait for what comes of it. */
export async function upload(
  picture: Blob,
  model: string,
  said: (state: "sending" | "waiting") => void,
): Promise<Image> {
  const form = await ask<Upload>("/v1/uploads", { method: "POST", query: { model: model || null } });
  const body = new FormData();
  for (const [name, value] of Object.entries(form.fields)) body.append(name, value);
  body.append("file", picture);
  said("sending");
  const sent = await fetched(form.url, { method: "POST", body });
  if (!sent.ok) throw new Refusal(sent.status, "UploadRefused", "The storage did not take the picture.");
  said("waiting");
  for (let second = 0; second < PATIENCE; second++) {
    await pause(1000);
    const found = await ask<Image>(form.self);
    if (found.state === "classified") return found;
  }
  throw new Refusal(504, "StillWaiting", `The picture is kept, and no run has judged it after ${PATIENCE} seconds.`);
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

async function fetched(url: string, request: RequestInit): Promise<Response> {
  try {
    return await fetch(url, request);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Refusal(0, "NoAnswer", "Nothing answered.");
  }
}

async function refusal(answer: Response): Promise<Refusal> {
  try {
    const found = await answer.json();
    const kind = String(found.type ?? "").replace(/^.*#/, "");
    return new Refusal(answer.status, kind, found.detail ?? found.message ?? answer.statusText);
  } catch {
    return new Refusal(answer.status, "", answer.statusText || `It answered ${answer.status}.`);
  }
}
