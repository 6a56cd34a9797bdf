// Review: what waits for a person, the worst first, by keyboard: accept, correct, hide or release, skip, undo. A label is
// the truth that counts in the model's accuracy, and takes the picture out of everybody's queue.
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { useModel } from "./hooks";
import { Loading, Mark, ModelPicker, Nothing, Picture, sized, Trouble } from "./parts";
import { nameOf, type Reviewing, type Shown, useImages, useReviewing, useShown, type Work } from "./reviewing";
import type { Verdict, Waiting } from "./types";
import { count, fileName, percent, why } from "./words";

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
  const images = useImages(model);
  const reviewing = useReviewing(model, images.keep);
  const { work, error, failure } = reviewing;
  const item = work?.items[work.place];
  const shown = useShown(images, item?.image_id, work?.items[work.place + 1]?.image_id);
  if (!work) {
    return error ? <Trouble error={error} retry={reviewing.retry} /> : <Loading what="Taking the worst pictures" />;
  }
  return (
    <>
      <Standing work={work} reviewing={reviewing} />
      {error !== null && <Trouble error={error} retry={reviewing.retry} />}
      {failure && (
        <Trouble error={failure.error}>
          <p>
            {nameOf(work, failure.image)}: {failure.means}
          </p>
        </Trouble>
      )}
      {item ? (
        <One key={item.image_id} item={item} shown={shown} reviewing={reviewing} undoable={work.steps.length > 0} />
      ) : work.next ? (
        <Loading what="Taking more pictures" />
      ) : (
        <Done work={work} model={model} reviewing={reviewing} />
      )}
    </>
  );
}

/** The pictures with which this was done, and not undone. */
function did(work: Work, what: Work["steps"][number]["did"]): number {
  return new Set(work.steps.filter((one) => one.did === what).map((one) => one.image)).size;
}

function Standing({ work, reviewing }: { work: Work; reviewing: Reviewing }) {
  const others = (["skipped", "hidden", "released"] as const).filter((one) => did(work, one));
  const left = work.items.length - work.place;
  return (
    <div class="standing" aria-busy={reviewing.saving}>
      <p class="figure">
        {[`${count(did(work, "labelled"), "picture")} labelled`, ...others.map((one) => `${did(work, one)} ${one}`)].join(", ")}
        ; {left > 0 ? `${left}${work.next ? " or more" : ""} to go` : "none to go"}
      </p>
      <progress max={Math.max(1, work.items.length)} value={work.place} aria-label="Pictures seen" />
      <p class="unseen" role="status">
        {reviewing.told}
      </p>
    </div>
  );
}

interface OneProps {
  item: Waiting;
  shown: Shown;
  reviewing: Reviewing;
  undoable: boolean;
}

function One({ item, shown, reviewing, undoable }: OneProps) {
  const [asking, setAsking] = useState<"label" | "reason" | null>(null);
  const { image, error, retry } = shown;
  const { skip, undo } = reviewing;
  const id = item.image_id;
  const verdict = image?.verdict ?? null;
  const own = item.label ?? "";
  const others = verdict && verdict.text === null ? verdict.alternatives.map((one) => one.label) : [];
  const keys = others.map((label, place) => (isDigit(label) ? label : String(place + 1)));
  const say = (label: string) => reviewing.say(id, label);
  useKeys((key) => {
    const other = keys.indexOf(key);
    if ((key === "a" || key === "Enter") && own) say(own);
    else if (key === "c") setAsking("label");
    else if (key === "q" && image) setAsking("reason");
    else if (key === "s") skip(id);
    else if (key === "z") undo();
    else if (isDigit(own) && isDigit(key)) say(key);
    else if (other >= 0) say(others[other] as string);
    else return false;
    return true;
  });
  const leave = () => setAsking(null);
  return (
    <article class="one" data-image={id} aria-label={fileName(item.s3_uri)}>
      {error && !image ? (
        <Trouble error={error} retry={retry} />
      ) : (
        <div class="seen">
          <Picture
            source={image?.picture ?? null}
            name={fileName(item.s3_uri)}
            boxes={verdict?.boxes ?? []}
            hidden={image ? "The picture cannot be shown: it is gone, or a part of a shard" : "Loading the picture"}
          />
          {image?.quarantined && <p class="seal">In quarantine: only reviewers see it</p>}
        </div>
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
        {asking === "label" ? (
          <Correct verdict={verdict} own={own} onSay={say} onLeave={leave} />
        ) : asking === "reason" && image ? (
          <Because
            hidden={image.quarantined}
            onSay={(because) => {
              reviewing.hide(id, !image.quarantined, because);
              leave();
            }}
            onLeave={leave}
          />
        ) : (
          <>
            <div class="buttons">
              <button type="button" disabled={!own} onClick={() => say(own)}>
                Accept <kbd>A</kbd>
              </button>
              <button type="button" class="quiet" onClick={() => setAsking("label")}>
                Correct <kbd>C</kbd>
              </button>
              <button type="button" class="quiet" disabled={!image} onClick={() => setAsking("reason")}>
                {image?.quarantined ? "Release" : "Hide"} <kbd>Q</kbd>
              </button>
              <button type="button" class="quiet" onClick={() => skip(id)}>
                Skip <kbd>S</kbd>
              </button>
              <button type="button" class="quiet" disabled={!undoable} onClick={undo}>
                Undo <kbd>Z</kbd>
              </button>
            </div>
            {others.length > 0 && (
              <div class="others">
                <h3>Or it is</h3>
                <ul>
                  {verdict?.alternatives.map((one, place) => (
                    <li key={one.label}>
                      <button type="button" class="quiet" onClick={() => say(one.label)}>
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
  onSay: (label: string) => void;
  onLeave: () => void;
}

function Correct({ verdict, own, onSay, onLeave }: CorrectProps) {
  const classes = verdict && verdict.text === null ? verdict.alternatives : [];
  return (
    <Ask
      what={verdict && verdict.text !== null ? "What is written there" : "What it is"}
      first={verdict && verdict.text !== null ? own : ""}
      most={200}
      likely={classes.map((one) => one.label)}
      save="Save"
      onSay={onSay}
      onLeave={onLeave}
    />
  );
}

function Because({ hidden, onSay, onLeave }: { hidden: boolean; onSay: (because: string) => void; onLeave: () => void }) {
  return (
    <Ask
      what={hidden ? "Why everybody may see it again" : "Why only reviewers may see it"}
      most={1000}
      save={hidden ? "Release" : "Hide"}
      onSay={onSay}
      onLeave={onLeave}
    />
  );
}

interface AskProps {
  what: string;
  save: string;
  most: number;
  first?: string;
  likely?: string[];
  onSay: (text: string) => void;
  onLeave: () => void;
}

/** A line to type, in place of the buttons. */
function Ask({ what, save, most, first = "", likely = [], onSay, onLeave }: AskProps) {
  const input = useRef<HTMLInputElement>(null);
  // with the form, not after it is painted: what is typed at once is meant for it
  useLayoutEffect(() => {
    input.current?.focus();
    input.current?.select();
  }, []);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const text = input.current?.value.trim();
    if (text) onSay(text);
  };
  const leave = (event: KeyboardEvent) => {
    if (event.key === "Escape") onLeave();
  };
  return (
    <form class="correct" onSubmit={submit}>
      <label class="field">
        <span>{what}</span>
        <input ref={input} required maxLength={most} defaultValue={first} list="likely" autoComplete="off" onKeyDown={leave} />
      </label>
      <datalist id="likely">
        {likely.map((one) => (
          <option key={one} value={one} />
        ))}
      </datalist>
      <div class="buttons">
        <button type="submit">
          {save} <kbd>Enter</kbd>
        </button>
        <button type="button" class="quiet" onClick={onLeave}>
          Leave <kbd>Esc</kbd>
        </button>
      </div>
    </form>
  );
}

function Done({ work, model, reviewing }: { work: Work; model: string; reviewing: Reviewing }) {
  useKeys((key) => {
    if (key !== "z") return false;
    reviewing.undo();
    return true;
  });
  const skipped = did(work, "skipped");
  return (
    <Nothing title={work.items.length ? "That was the last one" : "Nothing waits for a reviewer"}>
      <p>
        {work.items.length
          ? `You labelled ${count(did(work, "labelled"), "picture")}${skipped ? ` and skipped ${skipped}` : ""}.`
          : `What ${model} is not sure of will stand here, the worst first.`}
      </p>
      <div class="buttons">
        <button type="button" class="quiet" onClick={reviewing.look}>
          Look again
        </button>
        {work.steps.length > 0 && (
          <button type="button" class="quiet" onClick={reviewing.undo}>
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
