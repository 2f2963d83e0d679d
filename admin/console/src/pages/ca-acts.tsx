// What can be done to a CA, with its impact.
import { signal, type Signal } from '@preact/signals';
import { ask, with_query } from '../api/http';
import type { Ca } from '../api/objects';
import { go } from '../route';
import { texts } from '../texts';
import { act } from '../ui/act';
import { Tick } from '../ui/page';
import { Whom, whom_ca } from '../ui/whom';
import { visible } from '../ui/words';

// For a choice: of CAs of one name each says its serial.
export function ca_options(cas: Ca[]): [string, string][] {
  const name = (ca: Ca) => visible(ca.cn || ca.subject);
  return cas.map((ca) => [ca.id, cas.some((each) => each.id !== ca.id && name(each) === name(ca)) ? `${name(ca)} (${ca.serial.slice(0, 12)})` : name(ca)]);
}

function name_of(ca: Ca): string {
  return visible(ca.cn) || ca.id.slice(0, 12);
}

export function activate_ca(ca: Ca): void {
  const t = texts.peek().cas;
  act({
    title: t.act.activate_title(name_of(ca)),
    verb: t.activate,
    impact: async () => {
      const found = await ask<Ca>(`/v1/cas/${ca.id}`);
      return (
        <>
          <Whom all={[whom_ca(found)]} />
          <p class="impact">{t.act.activate_impact(found.devices.active)}</p>
        </>
      );
    },
    run: async () => {
      await ask<Ca>(`/v1/cas/${ca.id}/activate`, { method: 'POST' });
      return <p>{t.act.done.activate(name_of(ca))}</p>;
    },
  });
}

export function deactivate_ca(ca: Ca): void {
  const t = texts.peek().cas;
  act({
    title: t.act.deactivate_title(name_of(ca)),
    verb: t.deactivate,
    danger: true,
    impact: async () => {
      const found = await ask<Ca>(`/v1/cas/${ca.id}`);
      const twin = (found.admitted_through ?? []).length > 0;
      return (
        <>
          <Whom all={[whom_ca(found)]} />
          <p class="impact">
            {twin
              ? t.act.deactivate_twin
              : found.sessions
                ? t.act.deactivate_impact(found.sessions, found.devices_online ?? 0)
                : t.act.deactivate_none}
          </p>
          <p>{t.act.deactivate_back}</p>
        </>
      );
    },
    run: async () => {
      await ask<Ca>(`/v1/cas/${ca.id}/deactivate`, { method: 'POST' });
      return <p>{t.act.done.deactivate(name_of(ca))}</p>;
    },
  });
}

function Cascade({ on }: { on: Signal<boolean> }) {
  return <Tick label={texts.value.cas.act.delete_cascade} value={on.value} on={(value) => (on.value = value)} />;
}

export function delete_ca(ca: Ca, away?: string): void {
  const t = texts.peek().cas;
  const cascade = signal(false);
  let stands = false; // something the server would refuse for
  act({
    title: t.act.delete_title(name_of(ca)),
    verb: t.delete,
    danger: true,
    type: texts.peek().devices.act.word['delete'] ?? 'delete',
    for_good: true,
    impact: async () => {
      const found = await ask<Ca>(`/v1/cas/${ca.id}`);
      stands = found.status === 'active' || found.devices.active > 0;
      return (
        <>
          <Whom all={[whom_ca(found)]} />
          <p class="impact">{t.act.delete_impact(found.devices)}</p>
          {(found.sessions ?? 0) > 0 && <p class="impact">{t.sessions_of(found.sessions ?? 0, found.devices_online ?? 0)}</p>}
          <p>{t.act.delete_tombstones}</p>
          {stands && (
            <>
              <p>{t.act.delete_refused}</p>
              <Cascade on={cascade} />
            </>
          )}
        </>
      );
    },
    possible: () => !stands || cascade.value,
    run: async () => {
      await ask<Ca>(with_query(`/v1/cas/${ca.id}`, { cascade: cascade.value }), { method: 'DELETE' });
      return <p>{t.act.done.delete(name_of(ca))}</p>;
    },
    ...(away ? { after: () => go(away) } : {}),
  });
}

export function switch_ca(ca: Ca, change: { auto_register: boolean } | { approve: boolean }): void {
  const t = texts.peek().cas;
  const says =
    'auto_register' in change
      ? change.auto_register
        ? t.act.auto_on
        : t.act.auto_off
      : change.approve
        ? t.act.approve_on
        : t.act.approve_off;
  act({
    title: t.act.switch_title(name_of(ca)),
    verb: t.change,
    impact: () =>
      Promise.resolve(
        <>
          <Whom all={[whom_ca(ca)]} />
          <p class="impact">{says}</p>
        </>,
      ),
    run: async () => {
      const done = await ask<Ca>(`/v1/cas/${ca.id}`, { method: 'PATCH', body: change });
      return <p>{t.act.done.switch(done.auto_register, done.approve)}</p>;
    },
  });
}

export function CaActs({ ca, away }: { ca: Ca; away?: string }) {
  const t = texts.value.cas;
  const small = away ? '' : ' button-small'; // in a table; large in the head of its own page
  return (
    <span class="acts">
      {ca.status === 'active' ? (
        <button type="button" class={`button${small}`} onClick={() => deactivate_ca(ca)}>
          {t.deactivate}
        </button>
      ) : (
        <button type="button" class={`button${small}`} onClick={() => activate_ca(ca)}>
          {t.activate}
        </button>
      )}
      {!ca.from_config && (
        <button type="button" class={`button${small} button-quiet-danger`} onClick={() => delete_ca(ca, away)}>
          {t.delete}
        </button>
      )}
    </span>
  );
}
