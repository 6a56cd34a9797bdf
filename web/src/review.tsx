// Review: what waits for a person, the worst first, by keyboard: accept, correct, skip, undo. A label is the truth that
// counts in the model's accuracy, and takes the picture out of everybody's queue.
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { ask } from "./api";
import { useLoaded, useModel } from "./hooks";
import { Loading, Mark, ModelPicker, Nothing, Picture, sized, Trouble } from "./parts";
import type { Image, Reviews, Verdict, Waiting } from "./types";
import { count, fileName, percent, why } from "./words";

/** Pictures taken at once; each is the reviewer's for ten minutes. */
const BATCH = 10;

interface Work {
  model: string;
  items: Waiting[];
  next: string | null;
  /** Which item is looked at; past the last one, more are asked for. */
  place: number;
  /** What was said of those before, by their place. */
  said: Record<number, string>;
  labelled: number;
  skipped: number;
}

export function Review() {
  const model = useModel();
  return (
    <div class="review">
      <div class="title">
        <h1>Review</h1>
        <ModelPicker />
      </div>
      {model ? <Queue key={model} model={model} /> : <Loading what="Asking which models there are" />}
    </div>
  );
}

function Queue({ model }: { model: string }) {
  const [work, setWork] = useState<Work | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const [told, setTold] = useState("");

  const more = useCallback(
    async (cursor: string | null, before: Work | null) => {
      setError(null);
      try {
        const found = await ask<Reviews>("/v1/reviews", { query: { model, limit: BATCH, cursor } });
        const known = new Set(before?.items.map((one) => one.image_id));
        const items = found.items.filter((one) => !known.has(one.image_id));
        const kept = before ?? { model, items: [], next: null, place: 0, said: {}, labelled: 0, skipped: 0 };
        setWork({ ...kept, items: [...kept.items, ...items], next: found.next });
      } catch (problem) {
        setError(problem);
      }
    },
    [model],
  );
  useEffect(() => void more(null, null), [more]);
  const ended = work !== null && work.place >= work.items.length;
  useEffect(() => {
    if (ended && work.next) void more(work.next, work);
  }, [ended, work, more]);

  const item = work?.items[work.place];
  const path = item ? `/v1/images/${item.image_id}?model=${encodeURIComponent(model)}` : null;
  const shown = useLoaded<Image>(path);
  useNextPicture(work?.items[work.place + 1], model);

  const say = async (label: string) => {
    if (!work || !item || busy) return;
    setBusy(true);
    setError(null);
    try {
      await put(item.image_id, model, label);
      const said = { ...work.said, [work.place]: label };
      setWork({ ...work, said, place: work.place + 1, labelled: work.labelled + 1 });
      setTold(`${label}, said of ${fileName(item.s3_uri)}`);
    } catch (problem) {
      setError(problem);
    }
    setBusy(false);
  };
  const skip = () => {
    if (!work || !item || busy) return;
    setWork({ ...work, place: work.place + 1, skipped: work.skipped + 1 });
    setTold("Skipped");
  };
  const undo = async () => {
    if (!work || busy || work.place === 0) return;
    const place = work.place - 1;
    const last = work.items[place];
    if (!last) return;
    setBusy(true);
    setError(null);
    try {
      const { [place]: before, ...said } = work.said;
      if (before === undefined) {
        setWork({ ...work, place, skipped: work.skipped - 1 });
      } else {
        await put(last.image_id, model, null);
        setWork({ ...work, said, place, labelled: work.labelled - 1 });
      }
      setTold("Undone: the picture waits again");
    } catch (problem) {
      setError(problem);
    }
    setBusy(false);
  };

  if (!work) {
    return error ? <Trouble error={error} retry={() => void more(null, null)} /> : <Loading what="Taking the worst pictures" />;
  }
  const actions = { say, skip, undo, busy, first: work.place === 0 };
  return (
    <>
      <div class="standing">
        <p class="figure">
          {count(work.labelled, "picture")} labelled{work.skipped > 0 && `, ${count(work.skipped)} skipped`};{" "}
          {item ? `${work.items.length - work.place}${work.next ? " or more" : ""} to go` : "none to go"}
        </p>
        <progress max={Math.max(1, work.items.length)} value={work.place} aria-label="Pictures seen" />
        <p class="unseen" role="status">
          {told}
        </p>
      </div>
      {error !== null && <Trouble error={error} />}
      {item ? (
        <One key={item.image_id} item={item} image={shown.value} error={shown.error} retry={shown.reload} {...actions} />
      ) : work.next ? (
        <Loading what="Taking more pictures" />
      ) : (
        <Done work={work} actions={actions} again={() => void more(null, null)} />
      )}
    </>
  );
}

function put(image: string, model: string, label: string | null): Promise<Image> {
  return ask<Image>(`/v1/images/${image}/label`, { method: "PUT", query: { model }, json: { label } });
}

/** Has the browser fetch the next picture while this one is looked at. */
function useNextPicture(item: Waiting | undefined, model: string): void {
  const id = item?.image_id;
  useEffect(() => {
    if (!id) return;
    const stop = new AbortController();
    ask<Image>(`/v1/images/${id}`, { query: { model }, signal: stop.signal })
      .then((found) => {
        if (found.picture) new window.Image().src = found.picture;
      })
      .catch(() => undefined); // it is asked for again when it is shown
    return () => stop.abort();
  }, [id, model]);
}

interface Actions {
  say: (label: string) => Promise<void>;
  skip: () => void;
  undo: () => Promise<void>;
  busy: boolean;
  first: boolean;
}

interface OneProps extends Actions {
  item: Waiting;
  image: Image | null;
  error: unknown;
  retry: () => void;
}

function One({ item, image, error, retry, say, skip, undo, busy, first }: OneProps) {
  const [correcting, setCorrecting] = useState(false);
  const verdict = image?.verdict ?? null;
  const own = item.label ?? "";
  const others = verdict && verdict.text === null ? verdict.alternatives.map((one) => one.label) : [];
  const keys = others.map((label, place) => (isDigit(label) ? label : String(place + 1)));
  useKeys((key) => {
    const other = keys.indexOf(key);
    if ((key === "a" || key === "Enter") && own) void say(own);
    else if (key === "c") setCorrecting(true);
    else if (key === "s") skip();
    else if (key === "z") void undo();
    else if (isDigit(own) && isDigit(key)) void say(key);
    else if (other >= 0) void say(others[other] as string);
    else return false;
    return true;
  });
  return (
    <article class="one" data-image={item.image_id} aria-label={fileName(item.s3_uri)}>
      {error && !image ? (
        <Trouble error={error} retry={retry} />
      ) : (
        <Picture
          source={image?.picture ?? null}
          name={fileName(item.s3_uri)}
          boxes={verdict?.boxes ?? []}
          hidden={
            !image
              ? "Loading the picture"
              : item.reason === "Quarantined"
                ? "In quarantine, and hidden here. See it with: ics quarantine list"
                : "The picture is not there any more"
          }
        />
      )}
      <div class="about">
        <header>
          <h2>{fileName(item.s3_uri) || "A picture"}</h2>
        </header>
        <div class="verdict">
          <p class={`said ${own ? sized(own) : "word none"}`}>{own || "nothing"}</p>
          <div>
            <Mark decision={item.decision} />
            {own && <p class="sure figure">{percent(item.confidence)}</p>}
          </div>
        </div>
        <p class="why">{verdict ? why(verdict) : ""}</p>
        {correcting ? (
          <Correct verdict={verdict} own={own} busy={busy} onSay={say} onLeave={() => setCorrecting(false)} />
        ) : (
          <>
            <div class="buttons">
              <button type="button" disabled={busy || !own} onClick={() => void say(own)}>
                Accept <kbd>A</kbd>
              </button>
              <button type="button" class="quiet" disabled={busy} onClick={() => setCorrecting(true)}>
                Correct <kbd>C</kbd>
              </button>
              <button type="button" class="quiet" disabled={busy} onClick={skip}>
                Skip <kbd>S</kbd>
              </button>
              <button type="button" class="quiet" disabled={busy || first} onClick={() => void undo()}>
                Undo <kbd>Z</kbd>
              </button>
            </div>
            {others.length > 0 && (
              <div class="others">
                <h3>Or it is</h3>
                <ul>
                  {verdict?.alternatives.map((one, place) => (
                    <li key={one.label}>
                      <button type="button" class="quiet" disabled={busy} onClick={() => void say(one.label)}>
                        <b>{one.label}</b> <span class="figure hint">{percent(one.confidence)}</span>
                        <kbd>{keys[place]}</kbd>
                      </button>
                    </li>
                  ))}
                </ul>
                {isDigit(own) && <p class="hint">Any other digit: its key.</p>}
              </div>
            )}
          </>
        )}
        {image && image.truth.length > 0 && <p class="hint">Others have said: {image.truth.join(", ")}</p>}
      </div>
    </article>
  );
}

interface CorrectProps {
  verdict: Verdict | null;
  own: string;
  busy: boolean;
  onSay: (label: string) => Promise<void>;
  onLeave: () => void;
}

function Correct({ verdict, own, busy, onSay, onLeave }: CorrectProps) {
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    input.current?.focus();
    input.current?.select();
  }, []);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const label = input.current?.value.trim();
    if (label) void onSay(label);
  };
  const leave = (event: KeyboardEvent) => {
    if (event.key === "Escape") onLeave();
  };
  return (
    <form class="correct" onSubmit={submit}>
      <label class="field">
        <span>{verdict?.text === null || !verdict ? "What it is" : "What is written there"}</span>
        <input
          ref={input}
          required
          maxLength={200}
          defaultValue={verdict?.text === null ? "" : own}
          list="labels"
          autoComplete="off"
          onKeyDown={leave}
        />
      </label>
      <datalist id="labels">
        {verdict?.text === null && verdict.alternatives.map((one) => <option key={one.label} value={one.label} />)}
      </datalist>
      <div class="buttons">
        <button type="submit" disabled={busy}>
          Save <kbd>Enter</kbd>
        </button>
        <button type="button" class="quiet" onClick={onLeave}>
          Leave <kbd>Esc</kbd>
        </button>
      </div>
    </form>
  );
}

function Done({ work, actions, again }: { work: Work; actions: Actions; again: () => void }) {
  useKeys((key) => {
    if (key !== "z") return false;
    void actions.undo();
    return true;
  });
  return (
    <Nothing title={work.items.length ? "That was the last one" : "Nothing waits for a reviewer"}>
      <p>
        {work.items.length
          ? `You labelled ${count(work.labelled, "picture")}${work.skipped ? ` and skipped ${work.skipped}` : ""}.`
          : `What ${work.model} is not sure of will stand here, the worst first.`}
      </p>
      <div class="buttons">
        <button type="button" class="quiet" onClick={again}>
          Look again
        </button>
        {work.place > 0 && (
          <button type="button" class="quiet" disabled={actions.busy} onClick={() => void actions.undo()}>
            Undo <kbd>Z</kbd>
          </button>
        )}
      </div>
    </Nothing>
  );
}

function isDigit(text: string): boolean {
  return /^[0-9]$/.test(text);
}

/** Calls `pressed` for keys that are meant for no field, button or dialog; where it returns true, the key is used up. */
function useKeys(pressed: (key: string) => boolean): void {
  const latest = useRef(pressed);
  latest.current = pressed;
  // with the picture, not after it is painted: a key pressed the moment a picture appears is meant for it
  useLayoutEffect(() => {
    const heard = (event: KeyboardEvent) => {
      const at = event.target as HTMLElement;
      const typed = at.closest("input, select, textarea, dialog, details");
      const clicked = event.key === "Enter" && at.closest("button, a");
      if (typed || clicked || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (latest.current(key)) event.preventDefault();
    };
    window.addEventListener("keydown", heard);
    return () => window.removeEventListener("keydown", heard);
  }, []);
}
