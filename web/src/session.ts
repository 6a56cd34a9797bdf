// Who is signed in: the tokens of the user pool, kept for this tab only, renewed while that is possible, and asked for
// again where it is not. What was under way then goes on after the new sign-in.
import { proof, secret } from "./srp";
import { store } from "./store";

export type Role = "viewer" | "reviewer" | "operator";

export interface Session {
  name: string;
  role: Role | null;
  token: string;
  refresh: string | null;
}

/** What the user pool asks for before it lets somebody in. */
export type Step = { kind: "password" | "new password" | "code"; userId: string; session: string };

interface Config {
  environment: string;
  user_pool: string;
  client: string;
  /** Where the user pool's API is. */
  sign_in: string;
}

interface PoolAnswer {
  AuthenticationResult?: { AccessToken: string; RefreshToken?: string };
  ChallengeName?: string;
  ChallengeParameters?: Record<string, string>;
  Session?: string;
}

const KEPT = "ics-session";
const ROLES: Role[] = ["operator", "reviewer", "viewer"];
const SAID: Record<string, string> = {
  NotAuthorizedException: "The user name or the password is not right.",
  UserNotFoundException: "The user name or the password is not right.",
  CodeMismatchException: "The code is not right. Wait for the next one, and try again.",
  InvalidPasswordException:
    "The new password is too simple: 14 characters, with capital and small letters, digits, symbols.",
  TooManyRequestsException: "Too many tries. Wait a minute, and try again.",
  PasswordResetRequiredException: "An administrator must give you a new password first.",
};

export const session = store<Session | null>(null);
/** Whether somebody was signed in, whose sign-in has ended: the view stays, and a dialog asks for a new one. */
export const expired = store(false);

let config: Config = { environment: "", user_pool: "", client: "", sign_in: "" };
let waiting: (() => void)[] = [];

/** Read where to sign in, and take a token from the address (`#token=...`, as `ics open` gives it), or this tab's. */
export async function begin(): Promise<void> {
  config = await (await fetch("/config.json")).json();
  const given = new URLSearchParams(location.hash.replace(/^#\/?/, ""));
  const token = given.get("token");
  if (token) {
    history.replaceState(null, "", `${location.pathname}#/${given.get("view") ?? "classify"}`);
    keep(token, null);
    return;
  }
  const kept = sessionStorage.getItem(KEPT);
  if (kept) {
    const { token: last, refresh } = JSON.parse(kept);
    keep(last, refresh);
  }
}

export function environment(): string {
  return config.environment;
}

/** The first step of a sign-in: what is asked next, or null where it is done. */
export async function signIn(name: string, password: string): Promise<Step | null> {
  const mine = secret();
  const first = await ask("InitiateAuth", {
    AuthFlow: "USER_SRP_AUTH",
    ClientId: config.client,
    AuthParameters: { USERNAME: name, SRP_A: mine.open },
  });
  const given = first.ChallengeParameters ?? {};
  const { USER_ID_FOR_SRP: userId = name, SRP_B: poolOpen = "", SALT: salt = "", SECRET_BLOCK: block = "" } = given;
  const asked = { userPool: config.user_pool, userId, password, poolOpen, salt, block };
  const [at, signature] = await proof(mine, asked);
  const answers = {
    USERNAME: userId,
    PASSWORD_CLAIM_SECRET_BLOCK: block,
    PASSWORD_CLAIM_SIGNATURE: signature,
    TIMESTAMP: at,
  };
  return next(await respond("PASSWORD_VERIFIER", answers, first.Session), userId);
}

/** A further step: a password of one's own in place of the administrator's, or the code of a second factor. */
export async function answerStep(step: Step, answer: string): Promise<Step | null> {
  const answers: Record<string, string> = { USERNAME: step.userId };
  answers[step.kind === "code" ? "SOFTWARE_TOKEN_MFA_CODE" : "NEW_PASSWORD"] = answer;
  const challenge = step.kind === "code" ? "SOFTWARE_TOKEN_MFA" : "NEW_PASSWORD_REQUIRED";
  return next(await respond(challenge, answers, step.session), step.userId);
}

export function signOut(): void {
  sessionStorage.removeItem(KEPT);
  session.set(null);
  expired.set(false);
}

/** Called where the API does not take the token any more; resolves as soon as there is a new one. */
export async function again(refused: string): Promise<void> {
  const now = session.get();
  if (now && now.token !== refused) return;
  if (now?.refresh) {
    const parameters = { REFRESH_TOKEN: now.refresh };
    const asked = { AuthFlow: "REFRESH_TOKEN_AUTH", ClientId: config.client, AuthParameters: parameters };
    const renewed = await ask("InitiateAuth", asked).catch(() => null);
    const token = renewed?.AuthenticationResult?.AccessToken;
    if (token) {
      keep(token, now.refresh);
      return;
    }
  }
  expired.set(true);
  await new Promise<void>((resolve) => waiting.push(resolve));
}

function keep(token: string, refresh: string | null): void {
  const claims = claimsOf(token);
  const groups: string[] = claims["cognito:groups"] ?? [];
  sessionStorage.setItem(KEPT, JSON.stringify({ token, refresh }));
  const role = ROLES.find((one) => groups.includes(one)) ?? null;
  session.set({ name: claims.username ?? "", role, token, refresh });
  expired.set(false);
  for (const go of waiting) go();
  waiting = [];
}

function claimsOf(token: string): { username?: string; "cognito:groups"?: string[] } {
  try {
    const part = (token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/");
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (one) => one.charCodeAt(0))));
  } catch {
    return {};
  }
}

function next(answer: PoolAnswer, userId: string): Step | null {
  const result = answer.AuthenticationResult;
  if (result) {
    keep(result.AccessToken, result.RefreshToken ?? null);
    return null;
  }
  const kinds: Record<string, Step["kind"]> = { NEW_PASSWORD_REQUIRED: "new password", SOFTWARE_TOKEN_MFA: "code" };
  const kind = kinds[answer.ChallengeName ?? ""];
  if (!kind) throw new Error(`The user pool asks for ${answer.ChallengeName}, which this page does not know.`);
  return { kind, userId, session: answer.Session ?? "" };
}

function respond(challenge: string, answers: Record<string, string>, held?: string): Promise<PoolAnswer> {
  const request = { ChallengeName: challenge, ClientId: config.client, ChallengeResponses: answers };
  return ask("RespondToAuthChallenge", held ? { ...request, Session: held } : request);
}

async function ask(action: string, request: object): Promise<PoolAnswer> {
  let answer: Response;
  try {
    answer = await fetch(config.sign_in, {
      method: "POST",
      headers: {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": `AWSCognitoIdentityProviderService.${action}`,
      },
      body: JSON.stringify(request),
    });
  } catch {
    throw new Error("The sign-in service does not answer. Is there a network? Try again.");
  }
  const found = await answer.json();
  if (!answer.ok) {
    const kind = String(found.__type ?? "").replace(/^.*#/, "");
    throw new Error(SAID[kind] ?? found.message ?? "The sign-in service refused.");
  }
  return found;
}
