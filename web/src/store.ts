// A value that outlives the views which show it, and tells them when it changes.
import { useEffect, useState } from "preact/hooks";

export interface Store<T> {
  get(): T;
  set(next: T | ((before: T) => T)): void;
  listen(heard: () => void): () => void;
}

export function store<T>(first: T): Store<T> {
  let value = first;
  const listeners = new Set<() => void>();
  return {
    get: () => value,
    set(next) {
      value = next instanceof Function ? next(value) : next;
      for (const heard of listeners) heard();
    },
    listen(heard) {
      listeners.add(heard);
      return () => listeners.delete(heard);
    },
  };
}

export function useStore<T>(from: Store<T>): T {
  const [value, show] = useState(from.get());
  useEffect(() => {
    show(from.get());
    return from.listen(() => show(from.get()));
  }, [from]);
  return value;
}
