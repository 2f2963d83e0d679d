// The page's now. It moves with each answer of the server and between them, so that it is never older than what is shown.
import { signal } from '@preact/signals';

export const now = signal(Date.now());

export function tick(): void {
  const at = Date.now();
  if (Math.abs(at - now.peek()) >= 1000) now.value = at;
}

setInterval(tick, 15_000);
