// Loading what a view shows: once, or again and again while `every` says so.
import { useCallback, useEffect, useState } from "preact/hooks";
import { ask, pause } from "./api";
import { store, useStore } from "./store";
import type { Models } from "./types";

export interface Loaded<T> {
  value: T | null;
  error: unknown;
  reload: () => void;
}

/** What `path` answers; null is nothing to ask. `every` gives the milliseconds until it is asked again, or null. */
export function useLoaded<T>(path: string | null, every?: (value: T) => number | null): Loaded<T> {
  const [found, show] = useState<{ path: string | null; value: T | null; error: unknown }>({
    path: null,
    value: null,
    error: null,
  });
  const [times, setTimes] = useState(0);
  const reload = useCallback(() => setTimes((before) => before + 1), []);
  useEffect(() => {
    if (path === null) return;
    const stop = new AbortController();
    const load = async () => {
      while (!stop.signal.aborted) {
        let wait: number | null = null;
        try {
          const value = await ask<T>(path, { signal: stop.signal });
          if (stop.signal.aborted) return;
          show({ path, value, error: null });
          wait = every?.(value) ?? null;
        } catch (error) {
          if (stop.signal.aborted) return;
          show((before) => ({ path, value: before.path === path ? before.value : null, error }));
        }
        if (wait === null) return;
        await pause(wait);
      }
    };
    void load();
    return () => stop.abort();
    // eslint-disable-next-line react-hooks/exhaustive-deps -- `every` is a new function each time
  }, [path, times]);
  const current = found.path === path;
  return { value: current ? found.value : null, error: current ? found.error : null, reload };
}

export const models = store<Models | null>(null);
/** The model that people chose last; empty is the default one. */
export const chosen = store("");

/** The environment's models, asked for once. */
export function useModels(): Loaded<Models> {
  const known = useStore(models);
  const { value, error, reload } = useLoaded<Models>(known ? null : "/v1/models");
  useEffect(() => {
    if (value) models.set(value);
  }, [value]);
  return { value: known ?? value, error, reload };
}

/** The model to ask: the chosen one, else the default one. */
export function useModel(): string | null {
  const known = useStore(models);
  const name = useStore(chosen);
  const found = known?.items.find((one) => one.name === name) ?? known?.items.find((one) => one.default);
  return found?.name ?? null;
}
