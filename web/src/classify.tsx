// Classify: pictures from files, the clipboard, a drawing or the camera; what the model says, and whether to trust it.
import { useEffect, useRef, useState } from "preact/hooks";
import { ask, MOST, MOST_AT_ONCE, Refusal, upload } from "./api";
import { Camera } from "./camera";
import { Draw } from "./draw";
import { useModel, useModels } from "./hooks";
import { Bars, Choice, Mark, ModelPicker, Picture, sized, Trouble } from "./parts";
import { store, useStore } from "./store";
import type { Alternative, Verdict } from "./types";
import { best, bytes, count, percent, why } from "./words";

interface Entry {
  id: number;
  name: string;
  size: number;
  model: string;
  picture: File;
  url: string;
  state: "waits" | "sending" | "waiting" | "done" | "refused";
  verdict: Verdict | null;
  error: unknown;
}

/** Answers outlive the view; the oldest make room. */
const MOST_SHOWN = 60;
const AT_ONCE = 3;
const entries = store<Entry[]>([]);
const queue: Entry[] = [];
let asking = 0;
let numbered = 0;

export function classify(pictures: File[], model: string): void {
  for (const picture of pictures) {
    const url = URL.createObjectURL(picture);
    const blank = { verdict: null, error: null, state: "waits" as const };
    const entry: Entry = { id: ++numbered, name: picture.name, size: picture.size, model, picture, url, ...blank };
    queue.push(entry);
    entries.set((before) => {
      for (const old of before.slice(MOST_SHOWN - 1)) URL.revokeObjectURL(old.url);
      return [entry, ...before].slice(0, MOST_SHOWN);
    });
  }
  workMore();
}

/** Ask once more about a picture that was refused. */
function retry(entry: Entry): void {
  change(entry.id, { state: "waits", error: null });
  queue.push(entry);
  workMore();
}

function workMore(): void {
  while (asking < AT_ONCE && queue.length) void work();
}

async function work(): Promise<void> {
  asking++;
  for (let one = queue.shift(); one; one = queue.shift()) {
    const { id } = one;
    try {
      change(id, { state: "sending" });
      const verdict = await verdictOf(one);
      change(id, { state: "done", verdict });
    } catch (error) {
      change(id, { state: "refused", error });
    }
  }
  asking--;
}

async function verdictOf(entry: Entry): Promise<Verdict> {
  const { picture } = entry;
  if (picture.size <= MOST_AT_ONCE) {
    const query = { model: entry.model || null, name: entry.name.slice(0, 255) || null };
    return ask<Verdict>("/v1/classify", { method: "POST", query, body: picture });
  }
  if (picture.size > MOST) {
    throw new Refusal(413, "TooLarge", `${bytes(picture.size)}: pictures of up to 10 MB are taken here`);
  }
  const found = await upload(picture, entry.model, (state) => change(entry.id, { state }));
  if (!found.verdict) throw new Refusal(404, "NoSuchImage", "The picture's verdict is not there any more");
  return found.verdict;
}

function change(id: number, what: Partial<Entry>): void {
  entries.set((before) => before.map((one) => (one.id === id ? { ...one, ...what } : one)));
}

type Source = "files" | "draw" | "camera";

export function Classify() {
  const shown = useStore(entries);
  const model = useModel();
  const { value: known } = useModels();
  const [source, setSource] = useState<Source>("files");
  const take = (pictures: File[]) => {
    classify(pictures, model ?? ""); // while it is not known, the default one
    if (source !== "camera") requestAnimationFrame(showAnswers);
  };
  const picked = known?.items.find((one) => one.name === model);
  useEffect(() => {
    const pasted = (event: ClipboardEvent) => {
      const files = Array.from(event.clipboardData?.files ?? []);
      if (files.length) classify(files, model ?? "");
    };
    document.addEventListener("paste", pasted);
    return () => document.removeEventListener("paste", pasted);
  }, [model]);
  return (
    <div class="classify">
      <section class="give" aria-labelledby="give">
        <h1 id="give">Classify</h1>
        <div class="options">
          <ModelPicker />
          {picked && (
            <p class="hint">
              Sure enough from <span class="figure">{percent(picked.threshold)}</span>
              {picked.name === known?.text && "; reads a line of Cyrillic"}
            </p>
          )}
        </div>
        <Choice
          legend="Where the picture comes from"
          name="source"
          value={source}
          onChange={setSource}
          options={[
            ["files", "Files"],
            ["draw", "Draw"],
            ["camera", "Camera"],
          ]}
        />
        {source === "files" && <Files onGive={take} />}
        {source === "draw" && <Draw onGive={take} />}
        {source === "camera" && <Camera onGive={take} />}
      </section>
      <section class="answers" aria-labelledby="answers">
        <Progress shown={shown} />
        {shown.length === 0 && (
          <p class="empty">
            What the model says will stand here: its answer, how sure it is, what else it may be, and whether a person
            should look.
          </p>
        )}
        <ol>
          {shown.map((entry) => (
            <li key={entry.id}>
              <Answer entry={entry} />
            </li>
          ))}
        </ol>
      </section>
    </div>
  );
}

/** On a small screen the answers lie below what was given: go there. */
function showAnswers(): void {
  const heading = document.getElementById("answers");
  if (!heading || heading.getBoundingClientRect().top < window.innerHeight * 0.6) return;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  heading.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
}

function Files({ onGive }: { onGive: (pictures: File[]) => void }) {
  const [over, setOver] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    onGive(Array.from(event.dataTransfer?.files ?? []));
  };
  const choose = () => {
    onGive(Array.from(input.current?.files ?? []));
    if (input.current) input.current.value = "";
  };
  return (
    <div
      class={`drop ${over ? "over" : ""}`}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={drop}
    >
      <p>Drop pictures here, or paste them</p>
      <label class="button">
        <input ref={input} class="unseen" type="file" multiple accept="image/*" onChange={choose} />
        Choose pictures
      </label>
      <p class="hint">JPEG, PNG, GIF, WebP, BMP or TIFF, up to 10 MB</p>
    </div>
  );
}

function Progress({ shown }: { shown: Entry[] }) {
  const ended = shown.filter((one) => one.state === "done" || one.state === "refused");
  const latest = ended[0];
  const told = latest?.verdict
    ? `${latest.name}: ${latest.verdict.label ?? "no answer"}, ${latest.verdict.decision}`
    : latest
      ? `${latest.name} was refused`
      : "";
  return (
    <div class="heading">
      <h2 id="answers">Answers</h2>
      {shown.length > 0 && (
        <p class="hint figure">
          {ended.length < shown.length ? `${ended.length} of ${shown.length}` : count(shown.length, "picture")}
        </p>
      )}
      <progress
        class={ended.length < shown.length ? "" : "unseen"}
        max={shown.length || 1}
        value={ended.length}
        aria-label="Answered"
      />
      <p class="unseen" role="status">
        {told}
      </p>
    </div>
  );
}

const STATES: Record<Entry["state"], string> = {
  waits: "Waits for those before it",
  sending: "Asking the model",
  waiting: "Uploaded: over 4 MiB, so a run of its own classifies it",
  done: "",
  refused: "",
};

function Answer({ entry }: { entry: Entry }) {
  const { verdict } = entry;
  return (
    <article class="answer" data-state={entry.state} aria-label={entry.name}>
      <Picture source={entry.url} name={entry.name} boxes={verdict?.boxes ?? []} />
      <div class="about">
        <header>
          <h3>{entry.name}</h3>
          <p class="hint figure">
            {[verdict?.model ?? entry.model, bytes(entry.size)].filter(Boolean).join(" · ")}
          </p>
        </header>
        {verdict ? (
          <Said verdict={verdict} />
        ) : entry.state === "refused" ? (
          <Trouble error={entry.error} {...(mayPass(entry.error) ? { retry: () => retry(entry) } : {})} />
        ) : (
          <p class="loading">
            <span class="pulse" aria-hidden="true" />
            {STATES[entry.state]}
          </p>
        )}
      </div>
    </article>
  );
}

/** Whether another try may end better: nothing answered, too many asked, or the model was busy. */
function mayPass(error: unknown): boolean {
  return error instanceof Refusal && (error.status === 0 || error.status === 429 || error.status >= 500);
}

/** What a model says of one picture. */
export function Said({ verdict }: { verdict: Verdict }) {
  const { label, confidence, alternatives } = verdict;
  const first: Alternative[] = label === null || confidence === null ? [] : [{ label, confidence }];
  return (
    <>
      <div class="verdict">
        {verdict.text !== null ? (
          <ReadText text={verdict.text} characters={alternatives} />
        ) : (
          <p class={`said ${label ? sized(label) : "word none"}`}>{label || "nothing"}</p>
        )}
        <div>
          <Mark decision={verdict.decision} />
          {label && <p class="sure figure">{percent(confidence)}</p>}
        </div>
      </div>
      <p class="why">{why(verdict)}</p>
      {verdict.text === null && alternatives.length > 0 && (
        <Bars items={[...first, ...alternatives]} highlight={label} />
      )}
      {isCharacter(verdict) && <Legibility verdict={verdict} />}
    </>
  );
}

/** A line that was read; what the model was less sure of is marked. */
function ReadText({ text, characters }: { text: string; characters: Alternative[] }) {
  const whole = characters.map((one) => one.label).join("") === text;
  if (!text.trim()) return <p class="said word none">no text</p>;
  if (!whole) return <p class="said line">{text}</p>;
  return (
    <p class="said line">
      {characters.map((one, place) => (
        <span key={place} class={one.confidence < 0.8 ? "unsure" : ""} title={percent(one.confidence)}>
          {one.label}
        </span>
      ))}
    </p>
  );
}

function isCharacter(verdict: Verdict): boolean {
  const single = (text: string | null) => text !== null && [...text].length === 1;
  return verdict.text === null && single(verdict.label) && verdict.alternatives.every((one) => single(one.label));
}

/** How clearly a character was written: how far the first answer is before the second, from 0 to 100. */
function Legibility({ verdict }: { verdict: Verdict }) {
  const others = [...verdict.alternatives].sort((one, other) => other.confidence - one.confidence).slice(0, 2);
  const second = best(verdict.alternatives)?.confidence ?? 0;
  const score = Math.round(Math.max(0, (verdict.confidence ?? 0) - second) * 100);
  const words =
    score >= 95 ? "clearly written" : score >= 75 ? "readable" : score >= 40 ? "hard to tell" : "hardly legible";
  return (
    <div class="legibility">
      <p>
        <strong>
          Legibility <span class="figure">{score}</span>
        </strong>{" "}
        of 100, {words}.
        {others.length === 2 && (
          <>
            {" "}
            Most easily taken for <b>{others[0]?.label}</b> or <b>{others[1]?.label}</b>.
          </>
        )}
      </p>
      <span class="scale" aria-hidden="true">
        <span style={{ width: `${score}%` }} />
      </span>
    </div>
  );
}
