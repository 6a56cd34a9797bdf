// The camera, which stays in the browser: a picture by hand, or one every few seconds, is given on as a JPEG.
import { useEffect, useRef, useState } from "preact/hooks";

const SIDE = 1024;

export function Camera({ onGive }: { onGive: (pictures: File[]) => void }) {
  const video = useRef<HTMLVideoElement>(null);
  const stream = useRef<MediaStream | null>(null);
  const [on, setOn] = useState(false);
  const [problem, setProblem] = useState("");
  const [seconds, setSeconds] = useState(10);
  const [repeating, setRepeating] = useState(false);
  const taken = useRef(0);
  const give = useRef(onGive);
  give.current = onGive;

  const stop = () => {
    for (const track of stream.current?.getTracks() ?? []) track.stop();
    stream.current = null;
    setOn(false);
    setRepeating(false);
  };
  useEffect(() => stop, []);

  const start = async () => {
    setProblem("");
    try {
      stream.current = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      setOn(true);
    } catch (error) {
      const refused = error instanceof DOMException && error.name === "NotAllowedError";
      setProblem(
        refused
          ? "The browser may not use the camera. Allow it beside the address, and try again."
          : "No camera answers. Is one connected, and free? Otherwise choose a file.",
      );
    }
  };
  useEffect(() => {
    if (on && video.current && stream.current) {
      video.current.srcObject = stream.current;
      void video.current.play().catch(() => undefined);
    }
  }, [on]);

  const take = () => {
    const from = video.current;
    if (!from?.videoWidth) return;
    const scale = Math.min(1, SIDE / Math.max(from.videoWidth, from.videoHeight));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(from.videoWidth * scale);
    canvas.height = Math.round(from.videoHeight * scale);
    canvas.getContext("2d")?.drawImage(from, 0, 0, canvas.width, canvas.height);
    const name = `camera-${++taken.current}.jpg`;
    canvas.toBlob((blob) => blob && give.current([new File([blob], name, { type: "image/jpeg" })]), "image/jpeg", 0.92);
  };
  useEffect(() => {
    if (!repeating) return;
    take();
    const timer = setInterval(take, seconds * 1000);
    return () => clearInterval(timer);
  }, [repeating, seconds]);

  return (
    <div class="camera">
      {on ? (
        <>
          <video ref={video} muted playsInline aria-label="What the camera sees" />
          <div class="buttons">
            <button type="button" onClick={take}>
              Take a picture
            </button>
            <button type="button" class="quiet" onClick={stop}>
              Stop the camera
            </button>
          </div>
          <div class="repeat">
            <label class="check">
              <input
                type="checkbox"
                checked={repeating}
                onChange={(event) => setRepeating(event.currentTarget.checked)}
              />
              <span>Take one every</span>
            </label>
            <label>
              <span class="unseen">Seconds between pictures</span>
              <input
                class="short figure"
                type="number"
                min={1}
                max={3600}
                value={seconds}
                onChange={(event) => setSeconds(Math.min(3600, Math.max(1, Number(event.currentTarget.value) || 10)))}
              />
            </label>
            <span>seconds</span>
          </div>
        </>
      ) : (
        <div class="drop">
          <p>Pictures are taken here in the browser, and only those are sent.</p>
          <button type="button" onClick={start}>
            Start the camera
          </button>
          {problem && (
            <p class="trouble" role="alert">
              {problem}
            </p>
          )}
        </div>
      )}
    </div>
  );
}
