// Devices that wait for approval.
import { useState } from 'preact/hooks';
import { usePages } from '../api/live';
import type { Device } from '../api/objects';
import { may_change } from '../session';
import { texts } from '../texts';
import { Empty, Page, Pager } from '../ui/page';
import { ProblemBox } from '../ui/problem';
import { act_on_device, act_on_many } from './device-acts';
import { DeviceTable } from './devices';

export function Approvals() {
  const t = texts.value.approvals;
  const pages = usePages<Device>('/v1/devices', { status: 'pending' }, 50, 10);
  const [chosen, choose] = useState(new Set<string>());
  const still = [...chosen].filter((id) => pages.items.some((one) => one.id === id));
  const target = still.length > 0 ? { ids: still } : { filter: { status: 'pending' } };
  const done = () => choose(new Set());
  return (
    <Page title={t.title} lead={t.lead}>
      {may_change.value && pages.items.length > 0 && (
        <div class="bulk" role="group" aria-label={texts.value.ui.actions}>
          <span class="bulk-on">{still.length > 0 ? texts.value.ui.selected(still.length) : texts.value.ui.all}:</span>
          <button type="button" class="button button-small" onClick={() => act_on_many('approve', target, done)}>
            {t.approve}
          </button>
          <button type="button" class="button button-small button-quiet-danger" onClick={() => act_on_many('revoke', target, done)}>
            {t.decline}
          </button>
          <button type="button" class="button button-small button-quiet-danger" onClick={() => act_on_many('delete', target, done)}>
            {t.forget}
          </button>
        </div>
      )}
      {pages.problem && <ProblemBox problem={pages.problem} />}
      {!pages.loading && !pages.problem && pages.items.length === 0 && <Empty>{t.empty}</Empty>}
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
