// What the HTTP API answers. Those before the line are held against /openapi.json by tests/unit/test_page_types.py.

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance: string;
}

export interface Alternative {
  label: string;
  confidence: number;
}

export interface Box {
  label: string;
  confidence: number;
  left: number;
  top: number;
  width: number;
  height: number;
}

export interface Verdict {
  image_id: string;
  model: string;
  model_version: string;
  decision: "accepted" | "uncertain" | "flagged" | "failed";
  reason: string | null;
  label: string | null;
  confidence: number | null;
  alternatives: Alternative[];
  boxes: Box[];
  text: string | null;
  threshold: number;
  decided_at: string;
  name: string;
}

export interface Upload {
  id: string;
  url: string;
  fields: Record<string, string>;
  max_bytes: number;
  expires_in: number;
  self: string;
}

export interface Label {
  label: string | null;
  by: string;
  at: string;
}

export interface Image {
  id: string;
  state: "waiting" | "classified";
  verdict: Verdict | null;
  picture: string | null;
  quarantined: boolean;
  labels: Label[];
  truth: string[];
}

export interface Waiting {
  image_id: string;
  s3_uri: string | null;
  label: string | null;
  confidence: number | null;
  decision: "accepted" | "uncertain" | "flagged" | "failed";
  reason: string | null;
  decided_at: string | null;
}

export interface Reviews {
  model: string;
  items: Waiting[];
  lease_seconds: number;
  next: string | null;
}

export interface Started {
  run: string;
  self: string;
}

export interface Run {
  run: string;
  status: string;
  started: string;
  ended: string | null;
  planned: number | null;
  accepted: number | null;
  uncertain: number | null;
  flagged: number | null;
  failed: number | null;
}

export interface Runs {
  items: Run[];
  next: string | null;
}

export interface Progress {
  children: number;
  done: number;
}

export interface Alert {
  at: string;
  subject: string;
  text: string;
}

export interface RunDetail {
  run: string;
  status: string;
  started: string;
  ended: string | null;
  planned: number | null;
  progress: Progress | null;
  summary: Record<string, unknown> | null;
  sheet: string | null;
  alerts: Alert[];
  more_alerts: boolean;
}

export interface Model {
  name: string;
  default: boolean;
  version: string | null;
  kind: "endpoint" | "lambda" | "rekognition";
  threshold: number;
  policy: string;
}

export interface Models {
  items: Model[];
  text: string | null;
  uploads: boolean;
}

// ---- What the document leaves open: a run's summary (ics/summary.py) and metrics.json (docs/accuracy.md).

export type Decision = Verdict["decision"];

export interface Summary {
  error: string | null;
  cause: string | null;
  model: string | null;
  threshold: number | null;
  mode: string | null;
  planned: number;
  accepted: number;
  uncertain: number;
  flagged: number;
  failed: number;
  skipped: number;
  reasons: Record<string, number>;
  worst: {
    s3_uri: string;
    decision: Decision;
    reason: string | null;
    label: string | null;
    confidence: number | null;
  }[];
  seconds: number;
}

/** A share with its 95% interval; null of nothing. */
export interface Share {
  value: number | null;
  low: number | null;
  high: number | null;
  of?: number;
  count?: number;
}

/** What a threshold does, in images. */
export interface Cut {
  threshold: number;
  accepted: number;
  wrong_accepted: number;
  to_people: number;
  wrong_to_people: number;
}

export interface Metrics {
  model?: string;
  evaluation?: string;
  finished?: string;
  model_version: string;
  kind: "classification" | "text";
  images: number;
  accuracy: Share;
  threshold: number;
  ece: Share | null;
  accepted: Share;
  accuracy_of_accepted: Share;
  wrong_below_threshold: Share;
  risk_coverage: Cut[];
  macro_f1: Share | null;
  classes: Record<string, { images: number; precision: Share; recall: Share; f1: Share }> | null;
  confusion: { labels: string[]; counts: number[][] } | null;
  exact?: Share;
  cer?: Share | null;
  wer?: Share | null;
  labels: { images: number; counted: number; withdrawn: number; conflicting: number; failed: number; unknown: number };
}
