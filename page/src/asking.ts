/** Requests to the own server: the token where one is needed, and an error that says what failed. */

const STORED = "torghut-token";

export class RefusedError extends Error {}

export function setToken(token: string): void {
  if (token) sessionStorage.setItem(STORED, token);
  else sessionStorage.removeItem(STORED);
}

export function headers(): Record<string, string> {
  const token = sessionStorage.getItem(STORED);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  const answer = await fetch(path, { headers: headers(), signal: signal ?? AbortSignal.timeout(20_000) });
  if (answer.status === 401 || answer.status === 403) throw new RefusedError(await saidBy(answer));
  if (!answer.ok) throw new Error(await saidBy(answer));
  return (await answer.json()) as T;
}

async function saidBy(answer: Response): Promise<string> {
  try {
    const body = (await answer.json()) as { message?: string; error?: string };
    return body.message ?? body.error ?? `HTTP ${answer.status}`;
  } catch {
    return `HTTP ${answer.status}`;
  }
}
