// Preloaded into the CDK CLI: it asks CloudFormation every 5 seconds how a stack goes on, for which a deployment of the
// local stacks, done in less than a second each, would only wait. Every other timer stays as it is.
const later = globalThis.setTimeout;
globalThis.setTimeout = Object.assign(
  (callback, delay, ...rest) => later(callback, delay === 5000 ? 100 : delay, ...rest),
  later,
);
