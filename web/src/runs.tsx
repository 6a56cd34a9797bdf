export function Runs(_: { run: string }) {
  return null;
}
