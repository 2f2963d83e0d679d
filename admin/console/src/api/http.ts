// One request to /v1. A failure is a Problem, as the server words it (RFC 9457). The end of the session and a server
// that is away are noted here, for the whole page.
import { tick } from '../clock';
import { lost, person_asks, renew, server_lost, session, session_over } from '../session';

export class Problem extends Error {
  constructor(
    readonly status: number, // 0: no answer came
    readonly type: string,
    readonly detail: string,
  ) {
    super(detail);
  }
}

export interface Ask {
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  body?: unknown; // sent as JSON
  raw?: Blob | string; // sent as it is
  type?: string; // of raw
  background?: boolean; // nobody pressed anything: does not prolong the session
  signal?: AbortSignal;
}

export function headers_of(ask: Ask): Record<string, string> {
  const headers: Record<string, string> = {};
  if (ask.background) headers['X-Sallyport-Background'] = '1';
  if (ask.method && ask.method !== 'GET') headers['X-Sallyport-CSRF'] = session.peek()?.csrf ?? '';
  if (ask.raw !== undefined) headers['Content-Type'] = ask.type ?? 'application/octet-stream';
  else if (ask.body !== undefined) headers['Content-Type'] = 'application/json';
  return headers;
}

export function problem_of(status: number, text: string): Problem {
  let said: { type?: string; detail?: string; title?: string } = {};
  try {
    said = JSON.parse(text) as typeof said;
  } catch {
    // Not one of the server's own: a balancer's page, perhaps. Its status says enough.
  }
  return new Problem(status, said.type ?? '', said.detail ?? said.title ?? `HTTP ${status}`);
}

async function answer_to(path: string, ask: Ask, may_renew: boolean): Promise<Response> {
  if (!ask.background) person_asks();
  let answer: Response;
  try {
    const body = ask.raw ?? (ask.body === undefined ? undefined : JSON.stringify(ask.body));
    answer = await fetch(path, {
      method: ask.method ?? 'GET',
      headers: headers_of(ask),
      cache: 'no-store',
      ...(body === undefined ? {} : { body }),
      ...(ask.signal ? { signal: ask.signal } : {}),
    });
  } catch (error) {
    if (ask.signal?.aborted) throw error;
    server_lost();
    throw new Problem(0, 'unreachable', '');
  }
  if (answer.ok) {
    tick();
    if (lost.peek()) lost.value = false;
    return answer;
  }
  const problem = problem_of(answer.status, await answer.text());
  if (answer.status === 401) session_over('ended');
  if (answer.status === 403 && problem.type.endsWith(':csrf') && may_renew && (await renew())) {
    return answer_to(path, ask, false);
  }
  throw problem;
}

export async function ask<T>(path: string, how: Ask = {}): Promise<T> {
  return (await (await answer_to(path, how, true)).json()) as T;
}

export async function ask_text(path: string, how: Ask = {}): Promise<string> {
  return (await answer_to(path, how, true)).text();
}

// PATH?a=1&b=2, without what is empty.
export function with_query(path: string, query: Record<string, string | number | boolean | undefined>): string {
  const all = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== '' && value !== false) all.set(name, String(value));
  }
  const text = all.toString();
  return text ? `${path}?${text}` : path;
}

// Given to the browser as a file.
export function save(text: string, name: string, type: string): void {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
