// Calls that several pages make.
import { ask, Problem, with_query } from './http';
import type { List } from './live';
import type { Bulk, Ca, Device } from './objects';

export type DeviceVerb = 'activate' | 'deactivate' | 'revoke' | 'delete' | 'approve';

export type Target = { ids: string[] } | { filter: Record<string, string> };

// One pass over everything that matches, a bounded call at a time, added up. `as_of`, of the preview: what registered
// after it was looked at by nobody, and is left out.
export async function bulk(
  action: DeviceVerb,
  target: Target,
  dry_run: boolean,
  told?: (sum: Bulk) => void,
  stop?: AbortSignal,
  as_of?: string,
): Promise<Bulk> {
  const sum: Bulk = { matched: 0, would_change: 0, sessions: 0, changed: 0, failed: [], failed_omitted: 0, cursor: null };
  const parts: Target[] = 'ids' in target ? slices(target.ids, 1000).map((ids) => ({ ids })) : [target];
  for (const part of parts) {
    let cursor: string | null = '';
    do {
      const found: Bulk = await ask<Bulk>('/v1/devices/bulk', {
        method: 'POST',
        body: { action, ...part, dry_run, cursor, ...(as_of === undefined ? {} : { as_of }) },
        ...(stop ? { signal: stop } : {}),
      });
      sum.matched += found.matched;
      sum.would_change += found.would_change;
      sum.sessions += found.sessions;
      sum.changed += found.changed;
      sum.failed_omitted = (sum.failed_omitted ?? 0) + (found.failed_omitted ?? 0);
      for (const each of found.failed) {
        if (sum.failed.length < 100) sum.failed.push(each);
        else sum.failed_omitted += 1;
      }
      if (found.as_of !== undefined) sum.as_of ??= found.as_of;
      sum.came_since = (sum.came_since ?? 0) + (found.came_since ?? 0);
      cursor = found.cursor;
      told?.(sum);
    } while (cursor);
  }
  return sum;
}

function slices<T>(all: T[], size: number): T[][] {
  const parts: T[][] = [];
  for (let at = 0; at < all.length; at += size) parts.push(all.slice(at, at + size));
  return parts;
}

export function one_device(verb: DeviceVerb, id: string): Promise<Device> {
  if (verb === 'delete') return ask<Device>(`/v1/devices/${id}`, { method: 'DELETE' });
  return ask<Device>(`/v1/devices/${id}/${verb === 'approve' ? 'activate' : verb}`, { method: 'POST' });
}

// By their id: which CA a device is of is said by its name and its serial.
export async function cas_by_id(): Promise<Map<string, Ca>> {
  return new Map((await ask<List<Ca>>('/v1/cas?limit=1000')).items.map((ca) => [ca.id, ca]));
}

export interface CutFilter {
  ids?: string[];
  filter?: Record<string, string | boolean>;
  node?: string; // the machine whose sessions they are; this one without it
}

export interface Cuts {
  matched: number;
  cut: number;
  silent: string[]; // machines that did not answer
}

export async function cut_sessions(which: CutFilter[], dry_run: boolean, told?: (cut: number) => void): Promise<Cuts> {
  const sum: Cuts = { matched: 0, cut: 0, silent: [] };
  for (const { node, ...what } of which) {
    const parts = what.ids ? slices(what.ids, node ? 500 : 1000).map((ids) => ({ ids })) : [what];
    try {
      for (const part of parts) {
        let cursor: string | null = '';
        do {
          const found: { matched: number; cut: number; cursor: string | null } = await ask(with_query('/v1/sessions/cut', { node }), {
            method: 'POST',
            body: { ...part, dry_run, cursor },
          });
          sum.matched += found.matched;
          sum.cut += found.cut;
          cursor = found.cursor;
          told?.(sum.cut);
        } while (cursor);
      }
    } catch (error) {
      if (!node || !(error instanceof Problem) || error.status !== 503) throw error;
      sum.silent.push(node);
    }
  }
  return sum;
}
