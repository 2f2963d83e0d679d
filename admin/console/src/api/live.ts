// What a page shows, asked for when it opens, every few seconds while somebody can see it, and again when the epoch
// grows. The last answer stays while the next one is under way, and while the server is away.
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { epoch, lost } from '../session';
import { ask, Problem, with_query } from './http';

export interface Live<T> {
  data: T | undefined;
  problem: Problem | undefined;
  reload: () => void;
}

export function useLive<T>(path: string | null, every_seconds = 0): Live<T> {
  const [data, set_data] = useState<T>();
  const [problem, set_problem] = useState<Problem>();
  const [turn, set_turn] = useState(0);
  const shown = useRef<string | null>(null);
  const grown = epoch.value;
  useEffect(() => {
    if (path === null) {
      set_data(undefined);
      return;
    }
    const stop = new AbortController();
    const first = shown.current !== path;
    if (first) {
      set_data(undefined);
      set_problem(undefined);
    }
    const load = async (background: boolean) => {
      try {
        const found = await ask<T>(path, { background, signal: stop.signal });
        shown.current = path;
        set_data(found);
        set_problem(undefined);
      } catch (error) {
        if (!stop.signal.aborted && error instanceof Problem && error.status !== 0) set_problem(error);
      }
    };
    void load(!first);
    const timer =
      every_seconds > 0
        ? setInterval(() => {
            if (!document.hidden && !lost.peek()) void load(true);
          }, every_seconds * 1000)
        : 0;
    return () => {
      stop.abort();
      clearInterval(timer);
    };
  }, [path, every_seconds, grown, turn]);
  return { data, problem, reload: useCallback(() => set_turn((n) => n + 1), []) };
}

export interface List<T> {
  items: T[];
  next_page_token: string;
  silent?: string[]; // machines that were asked, too, and did not answer
}

export interface Pages<T> {
  items: T[];
  problem: Problem | undefined;
  loading: boolean; // also while a rare match is searched for, over many calls
  away: boolean; // the server did not answer: nothing is known of what is not shown
  empty: boolean; // the server has said so
  page: number;
  more: boolean;
  next: () => void;
  previous: () => void;
  stop: () => void;
  silent: string[];
}

// One page of a long list. The server bounds each call, so that a page may come in several answers, some of them
// empty; they are put together until the page is full, the list at its end, or the person stops it.
export function usePages<T>(
  path: string,
  query: Record<string, string | number | boolean | undefined>,
  size = 50,
  every_seconds = 0,
): Pages<T> {
  const key = with_query(path, query);
  const [state, set_state] = useState<{ items: T[]; next: string; loading: boolean; away?: boolean; problem?: Problem; silent?: string[] }>({
    items: [],
    next: '',
    loading: true,
  });
  const [tokens, set_tokens] = useState<{ key: string; list: string[] }>({ key, list: [''] });
  const list = tokens.key === key ? tokens.list : [''];
  const token = list[list.length - 1] ?? '';
  const [turn, set_turn] = useState(0);
  const stopped = useRef(false);
  const shown = useRef('');
  const grown = epoch.value;
  useEffect(() => {
    const stop = new AbortController();
    stopped.current = false;
    const what = `${key} ${token}`;
    const background = shown.current === what;
    if (!background) set_state({ items: [], next: '', loading: true });
    let timer: ReturnType<typeof setTimeout> | undefined;
    const began = performance.now();
    let pause = every_seconds * 1000;
    // What the server has to search long for is asked for again by itself less often: a tenth of the time at most.
    const again = () => {
      if (every_seconds === 0) return;
      timer = setTimeout(() => {
        if (document.hidden || lost.peek()) again();
        else set_turn((n) => n + 1);
      }, pause);
    };
    const load = async () => {
      let items: T[] = [];
      let next = token;
      const silent: string[] = [];
      try {
        do {
          const asked = with_query(path, { ...query, limit: size - items.length, page_token: next });
          const found = await ask<List<T>>(asked, { background, signal: stop.signal });
          items = items.concat(found.items);
          next = found.next_page_token;
          silent.push(...(found.silent ?? []));
          if (!background) set_state({ items, next, loading: true, silent });
        } while (next && items.length < size && !stopped.current);
        shown.current = what;
        set_state({ items, next, loading: false, silent });
        pause = Math.max(pause, 10 * (performance.now() - began));
        again();
      } catch (error) {
        if (stop.signal.aborted || !(error instanceof Problem)) return;
        if (error.status === 0) set_state((before) => ({ ...before, loading: false, away: true }));
        else {
          set_state({ items, next: '', loading: false, problem: error });
          again();
        }
      }
    };
    void load();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [key, token, size, every_seconds, grown, turn]);
  return {
    items: state.items,
    problem: state.problem,
    loading: state.loading,
    away: state.away === true,
    empty: !state.loading && !state.away && !state.problem && state.items.length === 0,
    page: list.length,
    more: state.next !== '',
    next: () => set_tokens({ key, list: [...list, state.next] }),
    previous: () => set_tokens({ key, list: list.slice(0, -1) }),
    stop: () => {
      stopped.current = true;
    },
    silent: state.silent ?? [],
  };
}

// All of a short list: CAs, listeners, tokens. A thousand at most.
export function useAll<T>(path: string, every_seconds = 0): Live<List<T>> {
  return useLive<List<T>>(with_query(path, { limit: 1000 }), every_seconds);
}
