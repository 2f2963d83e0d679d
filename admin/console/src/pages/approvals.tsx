// Devices that wait for approval.
import { useState } from 'preact/hooks';
import { usePages } from '../api/live';
import type { Device } from '../api/objects';
import { may_change } from '../session';
import { texts } from '../texts';
import { Empty, Page, Pager } from '../ui/page';
import { ProblemBox } from '../ui/problem';
import { AllBar, SelectionBar } from '../ui/selection';
import { act_on_device, act_on_many } from './device-acts';
import { DeviceTable } from './devices';

export function Approvals() {
  const t = texts.value.approvals;
  const pages = usePages<Device>('/v1/devices', { status: 'pending' }, 50, 10);
  const [chosen, choose] = useState(new Map<string, Device>());
  const clear = () => choose(new Map());
  const everybody = { filter: { status: 'pending' }, name: t.everybody };
  const acts = [
    ['approve', ''],
    ['revoke', ' button-quiet-danger'],
    ['delete', ' button-quiet-danger'],
  ] as const;
  return (
    <Page title={t.title} lead={t.lead}>
      {may_change.value && (pages.items.length > 0 || chosen.size > 0) && (
        <>
          <AllBar label={t.bulk_all}>
            {acts.map(([verb, style]) => (
              <button key={verb} type="button" class={`button button-small${style}`} disabled={pages.items.length === 0} onClick={() => act_on_many(verb, everybody, clear)}>
                {texts.value.devices.all_of[verb]}
              </button>
            ))}
          </AllBar>
          <SelectionBar chosen={chosen} shown={pages.items.map((one) => one.id)} clear={clear}>
            {(none) =>
              acts.map(([verb, style]) => (
                <button key={verb} type="button" class={`button button-small${style}`} disabled={none} onClick={() => act_on_many(verb, { chosen }, clear)}>
                  {texts.value.devices[verb]}
                </button>
              ))
            }
          </SelectionBar>
        </>
      )}
      {pages.problem && <ProblemBox problem={pages.problem} />}
      {pages.empty && <Empty>{t.empty}</Empty>}
      {pages.items.length > 0 && (
        <DeviceTable
          rows={pages.items}
          {...(may_change.value
            ? {
                chosen,
                choose,
                acts: (device: Device) => (
                  <button type="button" class="button button-small" onClick={() => act_on_device('approve', device)}>
                    {t.approve}
                  </button>
                ),
              }
            : {})}
        />
      )}
      <Pager pages={pages} />
    </Page>
  );
}
