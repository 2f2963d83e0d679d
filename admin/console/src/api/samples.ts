// The last hour, grown by what is new every five seconds. After a restart of the server its hour begins anew, and so
// does ours.
import { useEffect, useState } from 'preact/hooks';
import { epoch, lost } from '../session';
import { ask, with_query } from './http';
import type { Sample } from './objects';

const MOST = 720;

export function useSamples(): Sample[] | undefined {
  const [samples, set_samples] = useState<Sample[]>();
  const grown = epoch.value;
  useEffect(() => {
    const stop = new AbortController();
    let kept: Sample[] = [];
    const load = async () => {
      const last = kept[kept.length - 1];
      try {
        const found = await ask<{ items: Sample[] }>(with_query('/v1/samples', { since: last?.at }), {
          background: true,
          signal: stop.signal,
        });
        const fresh = last ? found.items.filter((each) => each.at > last.at) : found.items;
        if (!last || fresh.length > 0) {
          kept = [...kept, ...fresh].slice(-MOST);
          set_samples(kept);
        }
      } catch {
        // The banner says that the server is away, and the sign-in page that the session is over.
      }
    };
    void load();
    const timer = setInterval(() => {
      if (!document.hidden && !lost.peek()) void load();
    }, 5000);
    return () => {
      stop.abort();
      clearInterval(timer);
    };
  }, [grown]);
  return samples;
}

// The most frequent names over the hour, the rest added up: a chart of thirty lines says nothing.
export function busiest(samples: Sample[], of: (sample: Sample) => Record<string, number>, most: number): string[] {
  const sums = new Map<string, number>();
  for (const sample of samples) {
    for (const [name, value] of Object.entries(of(sample))) sums.set(name, (sums.get(name) ?? 0) + value);
  }
  return [...sums.entries()].sort((a, b) => b[1] - a[1]).slice(0, most).map(([name]) => name);
}
