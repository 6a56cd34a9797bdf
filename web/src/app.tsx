// The frame: which view is shown, who is signed in, light or dark; and the dialog for a sign-in that has ended.
import { useEffect, useRef, useState } from "preact/hooks";
import { Accuracy } from "./accuracy";
import { Classify } from "./classify";
import { Review } from "./review";
import { Runs } from "./runs";
import { answerStep, environment, expired, type Role, type Step, session, signIn, signOut } from "./session";
import { useStore } from "./store";

const VIEWS = [
  ["classify", "Classify"],
  ["review", "Review"],
  ["runs", "Runs"],
  ["accuracy", "Accuracy"],
] as const;

const MAY: Record<Role, string> = {
  viewer: "You may classify pictures, and look at runs and accuracy.",
  reviewer: "You may classify, review, label and hide pictures, and look at runs and accuracy.",
  operator: "You may classify, review, label and hide pictures, start runs, and look at all of it.",
};

export function App() {
  const who = useStore(session);
  const ended = useStore(expired);
  const [view, rest] = useRoute();
  useEffect(() => {
    document.title = `${VIEWS.find(([name]) => name === view)?.[1] ?? "Sign in"} – ICS`;
  }, [view]);
  if (!who) {
    return (
      <main class="alone">
        <h1>
          <Logo /> ICS
        </h1>
        <p class="lead">Classifies images, and tells which answers can be trusted.</p>
        <SignIn />
      </main>
    );
  }
  return (
    <>
      <a class="skip" href="#content" onClick={skip}>
        Skip to content
      </a>
      <header class="top">
        <a class="name" href="#/classify">
          <Logo /> ICS <span class="environment">{environment()}</span>
        </a>
        <nav aria-label="Views">
          {VIEWS.map(([name, title]) => (
            <a key={name} href={`#/${name}`} aria-current={name === view ? "page" : undefined}>
              {title}
            </a>
          ))}
        </nav>
        <Who name={who.name} role={who.role} />
      </header>
      <main id="content" tabIndex={-1}>
        {view === "review" ? (
          <Review />
        ) : view === "runs" ? (
          <Runs run={rest} />
        ) : view === "accuracy" ? (
          <Accuracy />
        ) : (
          <Classify />
        )}
      </main>
      {ended && <Ended />}
    </>
  );
}

/** The view and what follows it in the address: `#/runs/NAME`. */
function useRoute(): [string, string] {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const changed = () => {
      if (location.hash !== "#content") setHash(location.hash);
    };
    window.addEventListener("hashchange", changed);
    return () => window.removeEventListener("hashchange", changed);
  }, []);
  const [view = "", ...rest] = hash.replace(/^#\/?/, "").split("/");
  return [view || "classify", decodeURIComponent(rest.join("/"))];
}

function skip(event: MouseEvent) {
  event.preventDefault();
  document.getElementById("content")?.focus();
}

function Logo() {
  return (
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
      <path d="M5 12V5h7M20 5h7v7M27 20v7h-7M12 27H5v-7" />
      <circle cx="16" cy="16" r="4" />
    </svg>
  );
}

function Who({ name, role }: { name: string; role: Role | null }) {
  const menu = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const close = (event: Event) => {
      const key = event instanceof KeyboardEvent ? event.key : "";
      const outside = event instanceof PointerEvent && !menu.current?.contains(event.target as Node);
      if (menu.current?.open && (key === "Escape" || outside)) menu.current.open = false;
    };
    document.addEventListener("keydown", close);
    document.addEventListener("pointerdown", close);
    return () => {
      document.removeEventListener("keydown", close);
      document.removeEventListener("pointerdown", close);
    };
  }, []);
  return (
    <details class="who" ref={menu}>
      <summary>
        <span class="who-name">{name}</span>
        {role !== name && <span class="who-role">{role ?? "no role"}</span>}
      </summary>
      <div class="menu">
        <p>
          <strong>{name}</strong>
          {role !== name && `, ${role ?? "without a role"}`}. {role ? MAY[role] : "Ask an administrator for a role."}
        </p>
        <Theme />
        <p>
          <a href="/docs">The HTTP API</a>
        </p>
        <button type="button" class="quiet" onClick={signOut}>
          Sign out
        </button>
      </div>
    </details>
  );
}

function Theme() {
  const [theme, setTheme] = useState(localStorage.getItem("ics-theme") ?? "auto");
  useEffect(() => {
    if (theme === "auto") localStorage.removeItem("ics-theme");
    else localStorage.setItem("ics-theme", theme);
    applyTheme();
  }, [theme]);
  return (
    <label class="field row">
      <span>Colours</span>
      <select value={theme} onChange={(event) => setTheme(event.currentTarget.value)}>
        <option value="auto">As the system</option>
        <option value="light">Light</option>
        <option value="dark">Dark</option>
      </select>
    </label>
  );
}

export function applyTheme() {
  const theme = localStorage.getItem("ics-theme");
  if (theme) document.documentElement.dataset["theme"] = theme;
  else delete document.documentElement.dataset["theme"];
}

function Ended() {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  return (
    <dialog ref={dialog} class="ended" aria-labelledby="ended" onCancel={(event) => event.preventDefault()}>
      <h2 id="ended">Your sign-in has expired</h2>
      <p>Sign in again, and you are back where you were: nothing on this page is lost.</p>
      <SignIn />
    </dialog>
  );
}

function SignIn() {
  const [step, setStep] = useState<Step | null>(null);
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const known = session.get()?.name ?? "";
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget as HTMLFormElement);
    const text = (name: string) => String(given.get(name) ?? "");
    setBusy(true);
    setProblem("");
    try {
      setStep(await (step ? answerStep(step, text("answer")) : signIn(text("name"), text("password"))));
    } catch (error) {
      setProblem(error instanceof Error ? error.message : "That did not work. Try again.");
    }
    setBusy(false);
  };
  return (
    <form class="sign-in" onSubmit={submit}>
      {step?.kind === "code" ? (
        <label class="field" key="code">
          <span>Code of your second factor</span>
          <input name="answer" required inputMode="numeric" autoComplete="one-time-code" />
        </label>
      ) : step ? (
        <label class="field" key="new">
          <span>A new password of your own</span>
          <input name="answer" required type="password" autoComplete="new-password" />
        </label>
      ) : (
        <>
          <label class="field">
            <span>User name or e-mail</span>
            <input name="name" required autoComplete="username" defaultValue={known} />
          </label>
          <label class="field">
            <span>Password</span>
            <input name="password" type="password" required autoComplete="current-password" />
          </label>
        </>
      )}
      {problem && (
        <p class="trouble" role="alert">
          {problem}
        </p>
      )}
      <button type="submit" disabled={busy}>
        {busy ? "Signing in" : step ? "Go on" : "Sign in"}
      </button>
      {environment() === "local" && (
        <p class="hint">
          On this machine <code>ics open --role operator</code> signs in with one command; other roles are viewer and
          reviewer.
        </p>
      )}
    </form>
  );
}
