// Who is signed in, and whether the server answers. The token is never kept: the server holds the session, the browser
// its HttpOnly cookie, and this module the CSRF word in memory.
import { computed, signal } from '@preact/signals';

export interface Session {
  name: string;
  role: 'viewer' | 'operator';
  csrf: string;
  idle_seconds: number;
  ends: string;
  version?: string;
}

export type WhyOut = '' | 'ended' | 'restarted' | 'signed-out';

export const session = signal<Session | null | undefined>(undefined); // undefined: not asked yet
export const why_out = signal<WhyOut>('');
export const lost = signal(false); // the server does not answer
// Grows when everything that is shown must be asked for again: after a change, and when the server is back.
export const epoch = signal(0);
export const may_change = computed(() => session.value?.role === 'operator');
export const last_asked = signal(Date.now()); // when a person's request last went out: the idle end counts from there
// In another tab, too: they share the session.
const tabs = new BroadcastChannel('sallyport');
tabs.onmessage = () => {
  last_asked.value = Date.now();
};

export function person_asks(): void {
  last_asked.value = Date.now();
  tabs.postMessage('asked');
}

export function changed(): void {
  epoch.value += 1;
}

export function session_over(why: WhyOut): void {
  if (session.peek() === null) return;
  why_out.value = session.peek() ? why : '';
  session.value = null;
}

async function look(background: boolean): Promise<Session | null> {
  const answer = await fetch('/console/session', {
    headers: background ? { 'X-Sallyport-Background': '1' } : {},
    cache: 'no-store',
  });
  if (answer.ok) return (await answer.json()) as Session;
  if (answer.status === 401) return null;
  throw new Error(String(answer.status));
}

export async function begin(): Promise<void> {
  try {
    session.value = await look(false);
    last_asked.value = Date.now();
  } catch {
    server_lost();
  }
}

// The person is still there: prolongs the session.
export async function stay(): Promise<void> {
  person_asks();
  const found = await look(false).catch(() => undefined);
  if (found === null) session_over('ended');
  else if (found) session.value = found;
}

// The CSRF word may be another one after a restart.
export async function renew(): Promise<boolean> {
  const found = await look(true).catch(() => undefined);
  if (found) session.value = found;
  return Boolean(found);
}

let looking = false;

export function server_lost(): void {
  lost.value = true;
  if (looking) return;
  looking = true;
  const again = async () => {
    try {
      const found = await look(true);
      looking = false;
      lost.value = false;
      if (found) session.value = found;
      else if (session.peek()) session_over('restarted');
      else session.value = null;
      changed();
    } catch {
      setTimeout(() => void again(), 1500);
    }
  };
  setTimeout(() => void again(), 700);
}

export interface SignInFailure {
  kind: 'wrong' | 'too-many' | 'unreachable' | 'other';
  seconds?: number;
  detail?: string;
}

export async function sign_in(token: string): Promise<SignInFailure | null> {
  let answer: Response;
  try {
    answer = await fetch('/console/session', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ token }),
    });
  } catch {
    return { kind: 'unreachable' };
  }
  if (answer.ok) {
    session.value = (await answer.json()) as Session;
    why_out.value = '';
    last_asked.value = Date.now();
    return null;
  }
  if (answer.status === 401) return { kind: 'wrong' };
  if (answer.status === 429) return { kind: 'too-many', seconds: Number(answer.headers.get('Retry-After')) || 60 };
  const said = (await answer.json().catch(() => ({}))) as { detail?: string };
  return { kind: 'other', detail: said.detail ?? String(answer.status) };
}

export async function sign_out(): Promise<void> {
  const csrf = session.peek()?.csrf ?? '';
  await fetch('/console/session', { method: 'DELETE', headers: { 'X-Sallyport-CSRF': csrf } }).catch(() => undefined);
  session_over('signed-out');
}
