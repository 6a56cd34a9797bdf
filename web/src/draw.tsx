// A sheet to draw a digit or a letter on, with finger, pen or mouse; it is given on as a PNG, dark ink on white paper.
import { useEffect, useRef, useState } from "preact/hooks";

const SIZE = 320;
const INK = 22;

type Point = [number, number];

export function Draw({ onGive }: { onGive: (pictures: File[]) => void }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const strokes = useRef<Point[][]>([]);
  const [drawn, setDrawn] = useState(0);
  const sheets = useRef(0);

  const paint = () => {
    const pen = canvas.current?.getContext("2d");
    if (!pen) return;
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, SIZE, SIZE);
    pen.strokeStyle = "#111";
    pen.lineWidth = INK;
    pen.lineCap = "round";
    pen.lineJoin = "round";
    for (const [first, ...rest] of strokes.current) {
      if (!first) continue;
      pen.beginPath();
      pen.moveTo(...first);
      if (!rest.length) pen.lineTo(first[0] + 0.1, first[1]);
      for (const point of rest) pen.lineTo(...point);
      pen.stroke();
    }
  };
  useEffect(paint, []);

  const at = (event: PointerEvent): Point => {
    const place = (event.currentTarget as HTMLElement).getBoundingClientRect();
    return [((event.clientX - place.left) / place.width) * SIZE, ((event.clientY - place.top) / place.height) * SIZE];
  };
  const begin = (event: PointerEvent) => {
    event.preventDefault();
    (event.currentTarget as HTMLElement).setPointerCapture(event.pointerId);
    strokes.current.push([at(event)]);
    setDrawn(strokes.current.length);
    paint();
  };
  const move = (event: PointerEvent) => {
    if (!(event.buttons & 1)) return;
    strokes.current.at(-1)?.push(at(event));
    paint();
  };
  const remove = (many: number) => {
    strokes.current.splice(-many, many);
    setDrawn(strokes.current.length);
    paint();
  };
  const give = () => {
    const name = `drawing-${++sheets.current}.png`;
    canvas.current?.toBlob((blob) => blob && onGive([new File([blob], name, { type: "image/png" })]), "image/png");
  };
  return (
    <div class="draw">
      <canvas
        ref={canvas}
        class="sheet"
        width={SIZE}
        height={SIZE}
        role="img"
        aria-label={`A sheet to draw on with ${drawn === 1 ? "1 stroke" : `${drawn} strokes`}. Without a pointer, choose a file instead.`}
        onPointerDown={begin}
        onPointerMove={move}
      />
      <div class="buttons">
        <button type="button" disabled={!drawn} onClick={give}>
          Classify the drawing
        </button>
        <button type="button" class="quiet" disabled={!drawn} onClick={() => remove(1)}>
          Undo
        </button>
        <button type="button" class="quiet" disabled={!drawn} onClick={() => remove(drawn)}>
          Clear
        </button>
      </div>
    </div>
  );
}
