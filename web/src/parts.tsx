// Parts that several views share: pictures with boxes, bars, decisions, and how loading, nothing and errors look.
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { chosen, useModel, useModels } from "./hooks";
import type { Alternative, Box, Decision } from "./types";
import { percent, told } from "./words";

const MARKS: Record<Decision, string> = {
  accepted: "M3.5 8.5l3 3 6-7",
  uncertain: "M5.8 6.2a2.3 2.3 0 1 1 3.2 2.1c-.7.4-1 .8-1 1.6M8 12.4v.1",
  flagged: "M4.5 14V2.5h7.5l-2 3 2 3H4.5",
  failed: "M4 4l8 8M12 4l-8 8",
};

export function Mark({ decision }: { decision: Decision }) {
  return (
    <span class={`mark ${decision}`}>
      <svg viewBox="0 0 16 16" aria-hidden="true">
        <path d={MARKS[decision]} />
      </svg>
      {decision}
    </span>
  );
}

export function Bars({ items, highlight }: { items: Alternative[]; highlight?: string | null }) {
  return (
    <ol class="bars">
      {items.map((one) => (
        <li key={one.label} class={one.label === highlight ? "first" : ""}>
          <span class="bar-label">{one.label}</span>
          <span class="bar" aria-hidden="true">
            <span style={{ width: `${Math.max(one.confidence * 100, 0.5)}%` }} />
          </span>
          <span class="bar-value">{percent(one.confidence)}</span>
        </li>
      ))}
    </ol>
  );
}

interface PictureProps {
  source: string | null;
  name: string;
  boxes?: Box[];
  hidden?: string;
}

/** A picture; its boxes lie over it to scale. What the browser cannot show is said. */
export function Picture({ source, name, boxes = [], hidden }: PictureProps) {
  const [broken, setBroken] = useState<string | null>(null);
  if (!source || broken === source) {
    return (
      <div class="picture none">
        <span>{source ? "No preview" : (hidden ?? "No picture")}</span>
      </div>
    );
  }
  const found = boxes.map((box) => `${box.label} ${percent(box.confidence)}`).join(", ");
  return (
    <figure class="picture">
      <div class="frame">
        <img src={source} alt={found ? `${name}: ${found}` : name} onError={() => setBroken(source)} />
        {boxes.map((box, place) => (
          <span
            key={place}
            class={`box ${box.top < 0.08 ? "inside" : ""}`}
            aria-hidden="true"
            style={{
              left: `${box.left * 100}%`,
              top: `${box.top * 100}%`,
              width: `${box.width * 100}%`,
              height: `${box.height * 100}%`,
            }}
          >
            <span>{box.label}</span>
          </span>
        ))}
      </div>
    </figure>
  );
}

export function Trouble({
  error,
  retry,
  children,
}: {
  error: unknown;
  retry?: () => void;
  children?: ComponentChildren;
}) {
  const { what, advice } = told(error);
  return (
    <div class="trouble" role="alert">
      <p>
        <strong>{what}</strong> {advice}
      </p>
      {retry && (
        <button type="button" class="quiet" onClick={retry}>
          Try again
        </button>
      )}
      {children}
    </div>
  );
}

export function Loading({ what }: { what: string }) {
  return (
    <p class="loading" role="status">
      <span class="pulse" aria-hidden="true" />
      {what}
    </p>
  );
}

export function Nothing({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="nothing">
      <h2>{title}</h2>
      {children}
    </div>
  );
}

export function ModelPicker() {
  const { value, error, reload } = useModels();
  const model = useModel();
  if (error) return <Trouble error={error} retry={reload} />;
  return (
    <label class="field">
      <span>Model</span>
      <select value={model ?? ""} disabled={!value} onChange={(event) => chosen.set(event.currentTarget.value)}>
        {!value && <option value="">Loading</option>}
        {value?.items.map((one) => (
          <option key={one.name} value={one.name}>
            {one.name}
          </option>
        ))}
      </select>
    </label>
  );
}

interface ChoiceProps<T extends string> {
  legend: string;
  name: string;
  value: T;
  options: [T, string][];
  onChange: (value: T) => void;
}

export function Choice<T extends string>({ legend, name, value, options, onChange }: ChoiceProps<T>) {
  return (
    <fieldset class="choice">
      <legend class="unseen">{legend}</legend>
      {options.map(([one, text]) => (
        <label key={one}>
          <input type="radio" name={name} checked={one === value} onChange={() => onChange(one)} />
          <span>{text}</span>
        </label>
      ))}
    </fieldset>
  );
}
