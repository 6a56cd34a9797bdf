// Accuracy: how often a model is right by what people say, and what a threshold would do: how many images go to people,
// and how many errors pass unseen.
import { useState } from "preact/hooks";
import { Refusal } from "./api";
import { useLoaded, useModel } from "./hooks";
import { Loading, ModelPicker, Nothing, Trouble } from "./parts";
import { Figure } from "./runs";
import type { Cut, Metrics, Share } from "./types";
import { count, moment, percent } from "./words";

export function Accuracy() {
  const model = useModel();
  const path = model ? `/v1/accuracy?model=${encodeURIComponent(model)}` : null;
  const { value, error, reload } = useLoaded<Metrics>(path);
  const never = error instanceof Refusal && error.kind === "NotEvaluated";
  return (
    <div class="accuracy">
      <div class="title">
        <h1>Accuracy</h1>
        <ModelPicker />
      </div>
      {never ? (
        <Nothing title={`The accuracy of ${model} was never measured`}>
          <p>
            Label some pictures in the <a href="#/review">review</a>, then have it measured:
          </p>
          <p>
            <code>ics accuracy --model {model}</code>
          </p>
          <div class="buttons">
            <button type="button" class="quiet" onClick={reload}>
              Look again
            </button>
          </div>
        </Nothing>
      ) : error !== null ? (
        <Trouble error={error} retry={reload} />
      ) : value ? (
        <Measured key={`${model} ${value.evaluation}`} metrics={value} reload={reload} />
      ) : (
        <Loading what="Asking for the latest figures" />
      )}
    </div>
  );
}

function Measured({ metrics, reload }: { metrics: Metrics; reload: () => void }) {
  const held = metrics.labels.conflicting;
  return (
    <>
      <p class="hint measured">
        Over {count(metrics.images, "image")} that people labelled
        {metrics.finished && `, measured ${moment(metrics.finished)}`}, version {metrics.model_version.slice(0, 8) || "unknown"}.{" "}
        {held > 0 && `${count(held, "image")} held out, because people disagree. `}
        <button type="button" class="link" onClick={reload}>
          Look again
        </button>
      </p>
      <dl class="figures">
        <Of name="Right" share={metrics.accuracy} />
        {metrics.cer && <Of name="Characters wrong" share={metrics.cer} />}
        {metrics.wer && <Of name="Words wrong" share={metrics.wer} />}
        <Of name={`Accepted at ${percent(metrics.threshold)}`} share={metrics.accepted} />
        <Of name="Right of the accepted" share={metrics.accuracy_of_accepted} />
        <Of name="Errors that people see" share={metrics.wrong_below_threshold} />
        {metrics.macro_f1 && <Of name="Mean F1" share={metrics.macro_f1} />}
        {metrics.ece && <Of name="Calibration error" share={metrics.ece} />}
      </dl>
      {metrics.risk_coverage.length > 0 && <Threshold metrics={metrics} />}
      <div class={`pair ${(metrics.confusion?.labels.length ?? 0) > 14 ? "broad" : ""}`}>
        {metrics.confusion && <Confusion confusion={metrics.confusion} />}
        {metrics.classes && <Classes classes={metrics.classes} />}
      </div>
    </>
  );
}

function Of({ name, share }: { name: string; share: Share }) {
  const counted = share.of === undefined ? "" : `${count(share.count)} of ${count(share.of)}, `;
  const note = share.value === null ? "of none" : `${counted}95%: ${short(share.low)} to ${short(share.high)}`;
  return <Figure name={name} value={percent(share.value)} note={note} />;
}

function short(share: number | null): string {
  return percent(share).replace("%", "");
}

/** What a threshold does: a threshold between two cuts does what the next higher one does; above the last, nothing is accepted. */
export function cutAt(cuts: Cut[], threshold: number): Cut {
  const found = cuts.find((one) => one.threshold >= threshold - 1e-9);
  if (found) return { ...found, threshold };
  const last = cuts.at(-1) ?? { threshold, accepted: 0, wrong_accepted: 0, to_people: 0, wrong_to_people: 0 };
  return {
    threshold,
    accepted: 0,
    wrong_accepted: 0,
    to_people: last.accepted + last.to_people,
    wrong_to_people: last.wrong_accepted + last.wrong_to_people,
  };
}

function Threshold({ metrics }: { metrics: Metrics }) {
  const [threshold, setThreshold] = useState(metrics.threshold);
  const cut = cutAt(metrics.risk_coverage, threshold);
  const all = cut.accepted + cut.to_people;
  const risk = cut.accepted ? cut.wrong_accepted / cut.accepted : 0;
  return (
    <section class="threshold" aria-labelledby="threshold">
      <h2 id="threshold">What a threshold would do</h2>
      <div class="halves">
        <div>
          <label class="field">
            <span>
              Accept from a confidence of <output class="figure">{percent(threshold)}</output>
              {threshold === metrics.threshold && ", as now"}
            </span>
            <input
              type="range"
              min="0"
              max="1"
              step="0.001"
              value={threshold}
              aria-valuetext={percent(threshold)}
              onInput={(event) => setThreshold(Number(event.currentTarget.value))}
            />
          </label>
          <dl class="figures two" aria-live="polite">
            <Figure name="Images to people" value={count(cut.to_people)} note={`${percent(all ? cut.to_people / all : 0)} of ${count(all)}`} />
            <Figure
              name="Errors that pass"
              value={count(cut.wrong_accepted)}
              note={`${percent(risk)} of the ${count(cut.accepted)} accepted`}
            />
          </dl>
          {threshold !== metrics.threshold && (
            <button type="button" class="quiet" onClick={() => setThreshold(metrics.threshold)}>
              Back to {percent(metrics.threshold)}
            </button>
          )}
        </div>
        <Curve cuts={metrics.risk_coverage} at={cut} />
      </div>
    </section>
  );
}

const WIDE = 480;
const HIGH = 250;
const LEFT = 38;
const TOP = 32;
const BOTTOM = 42;

/** The risk-coverage curve: the more is accepted, the more of it is wrong. */
function Curve({ cuts, at }: { cuts: Cut[]; at: Cut }) {
  const points = cuts.filter((one) => one.accepted > 0).map(place);
  const most = Math.max(0.01, ...points.map(([, risk]) => risk)) * 1.1;
  const x = (coverage: number) => LEFT + coverage * (WIDE - LEFT - 12);
  const y = (risk: number) => TOP + (1 - risk / most) * (HIGH - BOTTOM - TOP);
  const line = points.map(([coverage, risk], number) => `${number ? "L" : "M"}${x(coverage)} ${y(risk)}`).join("");
  const [coverage, risk] = place(at);
  return (
    <svg class="curve" viewBox={`0 0 ${WIDE} ${HIGH}`} role="img" aria-label="Share of errors among the accepted, by the share that is accepted">
      {[0, 0.5, 1].map((one) => (
        <g key={one}>
          <path class="grid" d={`M${LEFT} ${y(one * most)}H${WIDE - 12}`} />
          <text x={LEFT - 8} y={y(one * most) + 4} text-anchor="end">
            {short(one * most)}
          </text>
          <text x={x(one)} y={HIGH - BOTTOM + 18} text-anchor="middle">
            {one * 100}
          </text>
        </g>
      ))}
      <text x={WIDE - 12} y={HIGH - 2} text-anchor="end">
        % accepted
      </text>
      <text x="0" y="12">
        % of the accepted that are wrong
      </text>
      <path class="line" d={line} />
      <path class="guide" d={`M${x(coverage)} ${y(0)}V${y(risk)}H${LEFT}`} />
      <circle cx={x(coverage)} cy={y(risk)} r="5" />
    </svg>
  );
}

function place(cut: Cut): [number, number] {
  const all = cut.accepted + cut.to_people;
  return [all ? cut.accepted / all : 0, cut.accepted ? cut.wrong_accepted / cut.accepted : 0];
}

function Confusion({ confusion }: { confusion: { labels: string[]; counts: number[][] } }) {
  const { labels, counts } = confusion;
  return (
    <section aria-labelledby="confusion">
      <h2 id="confusion">What is taken for what</h2>
      <p class="hint">A row is what it is, a column what the model said.</p>
      <div class="wide-table" tabIndex={0} role="region" aria-label="Confusion matrix">
        <table class="confusion">
          <thead>
            <tr>
              <td />
              {labels.map((label) => (
                <th key={label} scope="col">
                  {label}
                </th>
              ))}
              <th scope="col" class="number">
                images
              </th>
            </tr>
          </thead>
          <tbody>
            {labels.map((truth, row) => {
              const cells = counts[row] ?? [];
              const all = cells.reduce((sum, one) => sum + one, 0);
              return (
                <tr key={truth}>
                  <th scope="row">{truth}</th>
                  {cells.map((number, column) => (
                    <td
                      key={labels[column]}
                      class={number ? (row === column ? "hit" : "miss") : "zero"}
                      style={{ "--share": number ? `${12 + 33 * Math.sqrt(number / all)}%` : "0%" }}
                    >
                      {number || "·"}
                    </td>
                  ))}
                  <td class="number">{count(all)}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Classes({ classes }: { classes: NonNullable<Metrics["classes"]> }) {
  return (
    <section aria-labelledby="classes">
      <h2 id="classes">By class</h2>
      <p class="hint">Recall: of what is so, how much was found. Precision: of what was called so, how much is.</p>
      <div class="wide-table" tabIndex={0} role="region" aria-label="Table by class">
        <table class="classes">
          <thead>
            <tr>
              <th scope="col">Class</th>
              <th scope="col" class="number">
                Images
              </th>
              <th scope="col" class="number">
                Recall
              </th>
              <th scope="col" class="number">
                Precision
              </th>
              <th scope="col" class="number">
                F1
              </th>
            </tr>
          </thead>
          <tbody>
            {Object.entries(classes).map(([label, one]) => (
              <tr key={label}>
                <th scope="row">{label}</th>
                <td class="number">{count(one.images)}</td>
                {[one.recall, one.precision, one.f1].map((share, number) => (
                  <td key={number} class="number" title={`95%: ${short(share.low)} to ${short(share.high)}`}>
                    {percent(share.value)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
