// What a reviewer does, step by step: shown at once, saved behind it in the same order, undone from the last on. What
// could not be saved is told, and its picture stands next again.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ask } from "./api";
import type { Image, Reviews, Waiting } from "./types";
import { fileName } from "./words";

/** Pictures taken at once; each is the reviewer's for ten minutes. More are taken where only so few are left. */
const BATCH = 10;
const FEW = 3;

/** Milliseconds for which an answer about a picture is kept: its URL is good for longer. */
const KEPT = 200_000;

export interface Step {
  image: string;
  did: "labelled" | "skipped" | "hidden" | "released";
}

export interface Work {
  items: Waiting[];
  next: string | null;
  /** Which item is looked at; past the last one, more are asked for. */
  place: number;
  /** What was done and can be undone, the last of it last. */
  steps: Step[];
}

/** What was not saved, and what that means. */
export interface Failure {
  image: string;
  error: unknown;
  means: string;
}

export interface Reviewing {
  work: Work | null;
  error: unknown;
  failure: Failure | null;
  told: string;
  saving: boolean;
  /** Ask for what waits now, from the worst on. */
  look: () => void;
  /** Ask once more for what could not be had. */
  retry: () => void;
  say: (image: string, label: string) => void;
  hide: (image: string, hidden: boolean, because: string) => void;
  skip: (image: string) => void;
  undo: () => void;
}

/** The pictures that wait, and what can be done with them; `saved` is given what is known of one after each save. */
export function useReviewing(model: string, saved: (image: Image) => void): Reviewing {
  const [work, show] = useState<Work | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  const [told, setTold] = useState("");
  const [saving, setSaving] = useState(0);
  const now = useRef<Work | null>(null); // also between two renders: a quick second key must not mean the same picture
  const line = useRef<Promise<void>>(Promise.resolve());

  const change = useCallback((next: Work) => {
    now.current = next;
    show(next);
  }, []);

  const more = useCallback(
    async (cursor: string | null) => {
      setError(null);
      try {
        const found = await ask<Reviews>("/v1/reviews", { query: { model, limit: BATCH, cursor } });
        const before = cursor ? now.current : null;
        const known = new Set(before?.items.map((one) => one.image_id));
        const items = [...(before?.items ?? []), ...found.items.filter((one) => !known.has(one.image_id))];
        change({ place: 0, steps: [], ...before, items, next: found.next });
      } catch (problem) {
        setError(problem);
      }
    },
    [model, change],
  );
  const look = useCallback(() => void line.current.then(() => more(null)), [more]); // what is not saved yet still waits
  useEffect(look, [look]);
  const retry = () => void more(now.current?.next ?? null);
  const next = work && work.items.length - work.place <= FEW ? work.next : null;
  useEffect(() => {
    if (next) void more(next);
  }, [next, more]);

  useEffect(() => {
    if (!saving) return;
    const stay = (event: BeforeUnloadEvent) => event.preventDefault();
    window.addEventListener("beforeunload", stay);
    return () => window.removeEventListener("beforeunload", stay);
  }, [saving]);

  const save = (image: string, send: () => Promise<Image>, unsaved: (work: Work) => Work, means: string) => {
    setSaving((count) => count + 1);
    line.current = line.current.then(async () => {
      try {
        saved(await send());
        setFailure((before) => (before?.image === image ? null : before));
      } catch (problem) {
        if (now.current) change(unsaved(now.current));
        setFailure({ image, error: problem, means });
      }
      setSaving((count) => count - 1);
    });
  };

  /** The work, where this is the picture that is looked at: a key may come after the next one was called for. */
  const at = (image: string) => (now.current?.items[now.current.place]?.image_id === image ? now.current : null);

  const say = (image: string, label: string) => {
    const before = at(image);
    if (!before) return;
    const step: Step = { image, did: "labelled" };
    change({ ...before, place: before.place + 1, steps: [...before.steps, step] });
    setTold(`${label}, said of ${nameOf(before, image)}`);
    const means = "Its label was not saved; it stands next again.";
    save(image, () => putLabel(image, model, label), (work) => without(work, step), means);
  };
  const hide = (image: string, hidden: boolean, because: string) => {
    const before = at(image);
    if (!before) return;
    const step: Step = { image, did: hidden ? "hidden" : "released" };
    change({ ...before, steps: [...before.steps, step] });
    setTold(hidden ? "Hidden from all but reviewers" : "Released: everybody may see it");
    const means = hidden ? "It is not hidden." : "It is not released.";
    save(image, () => putQuarantine(image, hidden, because), (work) => without(work, step), means);
  };
  const skip = (image: string) => {
    const before = at(image);
    if (!before) return;
    change({ ...before, place: before.place + 1, steps: [...before.steps, { image, did: "skipped" }] });
    setTold("Skipped");
  };
  const undo = () => {
    const before = now.current;
    const last = before?.steps.at(-1);
    if (!before || !last) return;
    const { image, did } = last;
    const place = before.items.findIndex((one) => one.image_id === image);
    change({ ...before, place, steps: before.steps.slice(0, -1) });
    setTold("Undone");
    const send =
      did === "labelled"
        ? () => putLabel(image, model, null)
        : did !== "skipped" && (() => putQuarantine(image, did === "released", "undone by the same reviewer"));
    const again = (work: Work) => ({ ...work, steps: work.steps.toSpliced(before.steps.length - 1, 0, last) });
    if (send) save(image, send, again, "It was not undone; Undo tries it again.");
  };
  return { work, error, failure, told, saving: saving > 0, look, retry, say, hide, skip, undo };
}

/** The work without a step that was not saved; a picture that was not labelled stands next again. */
function without(work: Work, step: Step): Work {
  if (!work.steps.includes(step)) return work; // undone meanwhile
  const steps = work.steps.filter((one) => one !== step);
  const item = work.items.find((one) => one.image_id === step.image);
  if (step.did !== "labelled" || !item) return { ...work, steps };
  const place = work.place - 1;
  const rest = work.items.filter((one) => one !== item);
  // behind the one that is looked at, where there is one: nobody's next key must mean another picture than is seen
  rest.splice(place + 1, 0, item);
  return { ...work, steps, place, items: rest };
}

export function nameOf(work: Work, image: string): string {
  return fileName(work.items.find((one) => one.image_id === image)?.s3_uri ?? null);
}

function putLabel(image: string, model: string, label: string | null): Promise<Image> {
  return ask<Image>(`/v1/images/${image}/label`, { method: "PUT", query: { model }, json: { label } });
}

function putQuarantine(image: string, quarantined: boolean, because: string): Promise<Image> {
  return ask<Image>(`/v1/images/${image}/quarantine`, { method: "PUT", json: { quarantined, because } });
}

export interface Shown {
  image: Image | null;
  error: unknown;
  retry: () => void;
}

/** What is known of pictures, asked for once; `keep` is given what is newer. */
export interface Images {
  load: (image: string) => Promise<Image>;
  keep: (image: Image) => void;
  /** Grows with each `keep`. */
  times: number;
}

export function useImages(model: string): Images {
  const kept = useRef(new Map<string, { at: number; image: Promise<Image> }>());
  const [times, setTimes] = useState(0);
  const load = useCallback(
    (id: string) => {
      const known = kept.current.get(id);
      if (known && Date.now() - known.at < KEPT) return known.image;
      const image = ask<Image>(`/v1/images/${id}`, { query: { model } });
      kept.current.set(id, { at: Date.now(), image });
      image.catch(() => kept.current.delete(id));
      return image;
    },
    [model],
  );
  const keep = useCallback((image: Image) => {
    kept.current.set(image.id, { at: Date.now(), image: Promise.resolve(image) });
    setTimes((before) => before + 1);
  }, []);
  return { load, keep, times };
}

/** What is known of the picture that is looked at; the next one is fetched meanwhile, so that it is there at once. */
export function useShown({ load, times }: Images, id: string | undefined, next: string | undefined): Shown {
  const [shown, show] = useState<{ id?: string; image: Image | null; error: unknown }>({ image: null, error: null });
  const [tries, setTries] = useState(0);
  useEffect(() => {
    if (!id) return;
    let left = false;
    load(id).then(
      (image) => left || show({ id, image, error: null }),
      (error) => left || show({ id, image: null, error }),
    );
    return () => {
      left = true;
    };
  }, [id, load, times, tries]);
  useEffect(() => {
    if (!next) return;
    load(next)
      .then((found) => {
        if (found.picture) new window.Image().src = found.picture;
      })
      .catch(() => undefined); // it is asked for again when it is shown
  }, [next, load]);
  const current = shown.id === id;
  const retry = () => setTries((before) => before + 1);
  return { image: current ? shown.image : null, error: current ? shown.error : null, retry };
}
