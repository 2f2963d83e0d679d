// Where one is: the path below /console and its query, as one signal. Links are plain <a>, so that they open in a new
// tab as any other.
import { signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';

const BASE = '/console';

export interface Place {
  path: string;
  query: URLSearchParams;
}

function read(): Place {
  const path = location.pathname.startsWith(BASE) ? location.pathname.slice(BASE.length) : '/';
  return { path: path.replace(/\/+$/, '') || '/', query: new URLSearchParams(location.search) };
}

export const place = signal<Place>(read());

addEventListener('popstate', () => {
  place.value = read();
});

export function go(to: string, replace = false): void {
  const before = place.peek().path;
  history[replace ? 'replaceState' : 'pushState'](null, '', BASE + to);
  place.value = read();
  if (place.value.path !== before) {
    scrollTo(0, 0);
    // A screen reader and the keyboard begin at the new page, not at the link that is gone.
    requestAnimationFrame(() => document.getElementById('main')?.focus({ preventScroll: true }));
  }
}

// The same page with some of its query changed; empty: taken out.
export function asking(changes: Record<string, string>, path = place.peek().path): string {
  const query = new URLSearchParams(path === place.peek().path ? place.peek().query : undefined);
  for (const [name, value] of Object.entries(changes)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  const text = query.toString();
  return path + (text ? `?${text}` : '');
}

interface LinkProps {
  to: string;
  class?: string;
  children: ComponentChildren;
  current?: boolean;
  label?: string;
}

export function Link({ to, class: name, children, current, label }: LinkProps) {
  return (
    <a
      href={BASE + to}
      class={name}
      aria-current={current ? 'page' : undefined}
      aria-label={label}
      onClick={(event) => {
        if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
        event.preventDefault();
        go(to);
      }}
    >
      {children}
    </a>
  );
}
