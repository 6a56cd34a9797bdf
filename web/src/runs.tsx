// Runs: the latest ones, one as it goes on, what people were told of it; and, for operators, a new one over a prefix.
import { useState } from "preact/hooks";
import { ask } from "./api";
import { useLoaded, useModel, useModels } from "./hooks";
import { Loading, ModelPicker, Nothing, Trouble } from "./parts";
import { session } from "./session";
import { useStore } from "./store";
import type { Decision, Run, RunDetail, Runs as RunList, Started, Summary } from "./types";
import { count, duration, fileName, moment, percent, said } from "./words";

const DECISIONS: Decision[] = ["accepted", "uncertain", "flagged", "failed"];
const OFTEN = 1500;
const SELDOM = 10_000;

export function Runs({ run }: { run: string }) {
  return run ? <OneRun key={run} run={run} /> : <Latest />;
}

function Latest() {
  const [cursors, setCursors] = useState<string[]>([]);
  const cursor = cursors.at(-1);
  const path = `/v1/runs?limit=15${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`;
  const { value, error, reload } = useLoaded<RunList>(path, (found) =>
    found.items.some((one) => one.status === "RUNNING") ? OFTEN : SELDOM,
  );
  const next = value?.next;
  return (
    <>
      <div class="title">
        <h1>Runs</h1>
        <Start />
      </div>
      {error !== null && <Trouble error={error} retry={reload} />}
      {!value && !error && <Loading what="Asking for the latest runs" />}
      {value && value.items.length === 0 && (
        <Nothing title="No run in the last 90 days">
          <p>A run classifies all pictures under a prefix in S3. Uploads of over 4 MiB start one by themselves.</p>
        </Nothing>
      )}
      {value && value.items.length > 0 && <Table runs={value.items} />}
      {(next || cursors.length > 0) && (
        <div class="buttons pages">
          <button type="button" class="quiet" disabled={!cursors.length} onClick={() => setCursors(cursors.slice(0, -1))}>
            Later
          </button>
          <button type="button" class="quiet" disabled={!next} onClick={() => next && setCursors([...cursors, next])}>
            Earlier
          </button>
        </div>
      )}
    </>
  );
}

function Table({ runs }: { runs: Run[] }) {
  return (
    <table class="runs">
      <thead>
        <tr>
          <th scope="col">Run</th>
          <th scope="col">Status</th>
          <th scope="col">Started</th>
          <th scope="col" class="number">
            Images
          </th>
          <th scope="col">Shares</th>
          <th scope="col" class="number">
            For people
          </th>
        </tr>
      </thead>
      <tbody>
        {runs.map((one) => (
          <tr key={one.run}>
            <th scope="row">
              <a href={`#/runs/${encodeURIComponent(one.run)}`}>{one.run}</a>
            </th>
            <td>
              <Status status={one.status} />
            </td>
            <td>{moment(one.started)}</td>
            <td class="number">{count(one.planned)}</td>
            <td>
              <Strip counts={one} />
            </td>
            <td class="number">{one.planned === null ? "–" : count(one.planned - (one.accepted ?? 0))}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Status({ status }: { status: string }) {
  const kind = status === "SUCCEEDED" ? "good" : status === "RUNNING" ? "going" : "bad";
  return <span class={`status ${kind}`}>{status.toLowerCase().replace("_", " ")}</span>;
}

type Counts = Record<Decision, number | null>;

/** The four decisions as shares of one line. */
function Strip({ counts }: { counts: Counts }) {
  const all = DECISIONS.reduce((sum, one) => sum + (counts[one] ?? 0), 0);
  if (!all) return <span class="strip" />;
  const words = DECISIONS.filter((one) => counts[one]).map((one) => `${count(counts[one])} ${one}`);
  return (
    <span class="strip" role="img" aria-label={words.join(", ")} title={words.join(", ")}>
      {DECISIONS.map((one) => (
        <span key={one} class={one} style={{ width: `${((counts[one] ?? 0) / all) * 100}%` }} />
      ))}
    </span>
  );
}

function OneRun({ run }: { run: string }) {
  const { value, error, reload } = useLoaded<RunDetail>(`/v1/runs/${encodeURIComponent(run)}`, (found) =>
    found.status === "RUNNING" ? OFTEN : null,
  );
  const summary = value?.summary as unknown as Summary | null | undefined;
  return (
    <article class="run" aria-labelledby="run">
      <p>
        <a href="#/runs">All runs</a>
      </p>
      <div class="title">
        <h1 id="run">{run}</h1>
        {value && <Status status={value.status} />}
      </div>
      {error !== null && <Trouble error={error} retry={reload} />}
      {!value && !error && <Loading what="Asking how it stands" />}
      {value && !summary && (value.status === "RUNNING" ? <Going value={value} /> : <Uncounted value={value} />)}
      {value && summary && <Ended value={value} summary={summary} />}
    </article>
  );
}

function Uncounted({ value }: { value: RunDetail }) {
  return (
    <p>
      It ended before {value.planned === null ? "it was planned" : "its results were counted"}. Its execution in Step
      Functions says why. Within three days of its start, <code>ics resume {value.run}</code> finishes it;{" "}
      <code>ics stop {value.run}</code> counts what is there.
    </p>
  );
}

function Going({ value }: { value: RunDetail }) {
  const { progress, planned } = value;
  return (
    <section class="going" aria-label="Progress">
      <p class="figure">
        {planned === null ? "Planning: listing the images" : `${count(planned, "image")} planned`}
        {progress && `, ${count(progress.done)} of ${count(progress.children, "batch", "batches")} done`}
      </p>
      <progress max={progress?.children || 1} value={progress?.done ?? 0} aria-label="Batches done" />
      <p class="hint">Started {moment(value.started)}. This page asks again by itself.</p>
      {value.alerts.length > 0 && <h2>What people were told</h2>}
      <Alerts value={value} />
    </section>
  );
}

function Ended({ value, summary }: { value: RunDetail; summary: Summary }) {
  return (
    <>
      <dl class="figures">
        <Figure name="Planned" value={count(summary.planned)} />
        {DECISIONS.map((one) => (
          <Figure key={one} name={one} value={count(summary[one])} mark={one} />
        ))}
        <Figure name="Took" value={duration(summary.seconds)} />
      </dl>
      <Strip counts={summary} />
      <p class="hint">
        {moment(value.started)}, model {summary.model ?? "unknown"}
        {summary.threshold !== null && `, sure enough from ${percent(summary.threshold)}`}
        {summary.mode && `, ${summary.mode}`}
        {summary.skipped > 0 && `; ${count(summary.skipped)} known already`}
      </p>
      <div class="halves">
        <section aria-labelledby="alerts">
          <h2 id="alerts">What people were told</h2>
          <p>
            {summary.cause
              ? alert(summary)
              : `The run succeeded: ${count(summary.planned - summary.accepted, "image")} for a person.`}
          </p>
          {Object.keys(summary.reasons).length > 0 && (
            <table class="reasons">
              <tbody>
                {Object.entries(summary.reasons).map(([reason, number]) => (
                  <tr key={reason}>
                    <td class="number">{count(number)}</td>
                    <th scope="row">{reason}</th>
                    <td>{said(reason)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
          <Alerts value={value} />
        </section>
        <section aria-labelledby="sheet">
          <h2 id="sheet">The worst of it</h2>
          {value.sheet ? (
            <a href={value.sheet} target="_blank" rel="noreferrer">
              <img class="contact" src={value.sheet} alt={`Contact sheet: ${worst(summary)}`} />
            </a>
          ) : (
            <p class="empty">No image of this run needs a person.</p>
          )}
        </section>
      </div>
    </>
  );
}

/** The alerts as they were sent: each opens to its text. */
function Alerts({ value }: { value: RunDetail }) {
  if (!value.alerts.length) return null;
  return (
    <div class="alerts">
      <h3 id="sent">Alerts, as they were sent</h3>
      <ol aria-labelledby="sent">
        {value.alerts.map((one) => (
          <li key={one.at + one.subject}>
            <details>
              <summary>
                <span class="subject">{one.subject}</span>
                <span class="hint figure">{moment(one.at)}</span>
              </summary>
              <pre tabIndex={0} aria-label={one.subject}>
                {one.text}
              </pre>
            </details>
          </li>
        ))}
        {value.more_alerts && <li class="hint">There were more about watched labels: one for each batch that had any.</li>}
      </ol>
    </div>
  );
}

/** The alert's sentence, without the link to the summary, which only programs can follow. */
function alert(summary: Summary): string {
  const cause = (summary.cause ?? "").replace(/; summary: s3:.*$/, "");
  return `${summary.error ?? "Failed"}: ${cause}.`;
}

function worst(summary: Summary): string {
  return summary.worst
    .slice(0, 5)
    .map((one) => `${fileName(one.s3_uri)} ${one.decision}`)
    .join(", ");
}

export function Figure({ name, value, note, mark }: { name: string; value: string; note?: string; mark?: string }) {
  return (
    <div class={mark ? `marked ${mark}` : ""}>
      <dt>{name}</dt>
      <dd class="figure">{value}</dd>
      {note && <dd class="hint figure">{note}</dd>}
    </div>
  );
}

function Start() {
  const [open, setOpen] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const role = useStore(session)?.role;
  const model = useModel();
  const { value: known } = useModels();
  const threshold = known?.items.find((one) => one.name === model)?.threshold ?? 0.94;
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget as HTMLFormElement);
    const own = String(given.get("threshold") ?? "").trim();
    const request = {
      prefix: String(given.get("prefix")).trim(),
      model,
      mode: given.get("tolerant") ? "tolerant" : "strict",
      ...(own ? { threshold: Number(own) / 100 } : {}),
    };
    setBusy(true);
    setError(null);
    try {
      const started = await ask<Started>("/v1/runs", { method: "POST", json: request });
      location.hash = `#/runs/${encodeURIComponent(started.run)}`;
    } catch (problem) {
      setError(problem);
    }
    setBusy(false);
  };
  if (!open) {
    return (
      <button type="button" class={role === "operator" ? "" : "quiet"} onClick={() => setOpen(true)}>
        Start a run
      </button>
    );
  }
  return (
    <form class="start" onSubmit={submit}>
      <label class="field wide">
        <span>All images under this prefix</span>
        <input name="prefix" required placeholder="s3://bucket/folder/" pattern="s3://.+" title="s3://bucket/folder/" />
      </label>
      <ModelPicker />
      <label class="field">
        <span>Sure enough from, in percent</span>
        <input name="threshold" type="number" min="0" max="100" step="0.1" placeholder={String(+(threshold * 100).toFixed(1))} />
      </label>
      <label class="check wide">
        <input name="tolerant" type="checkbox" />
        <span>Succeed although images need a person</span>
      </label>
      {role !== "operator" && (
        <p class="hint wide">Operators start runs. You are signed in as {role ?? "somebody without a role"}, and will be refused.</p>
      )}
      {error !== null && (
        <div class="wide">
          <Trouble error={error} />
        </div>
      )}
      <div class="buttons wide">
        <button type="submit" disabled={busy}>
          {busy ? "Starting" : "Start"}
        </button>
        <button type="button" class="quiet" onClick={() => setOpen(false)}>
          Leave
        </button>
      </div>
    </form>
  );
}
