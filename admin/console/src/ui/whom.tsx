// Whom a change hits, beyond the name: a name can be chosen so that it looks like another one, an id cannot.
import { texts } from '../texts';
import type { Ca, Device, LiveSession } from '../api/objects';
import { Name, visible } from './words';

export interface One {
  name: string;
  facts: [label: string, value: string][];
}

const SHOWN = 8;
const DIGITS = 12;

function short(id: string): string {
  return id.length > DIGITS ? `${id.slice(0, DIGITS)}…` : id;
}

export function Whom({ all }: { all: One[] }) {
  const t = texts.value.ui;
  return (
    <ul class="whom">
      {all.slice(0, SHOWN).map((one, index) => (
        <li key={index}>
          <Name>{one.name}</Name>
          {one.facts.map(([label, value]) => (
            <span key={label} class="quiet">
              {label} <bdi class="mono">{visible(value)}</bdi>
            </span>
          ))}
        </li>
      ))}
      {all.length > SHOWN && <li class="quiet">{t.and_more(all.length - SHOWN)}</li>}
    </ul>
  );
}

function of_ca(id: string, cas: Map<string, Ca>): string {
  const ca = cas.get(id);
  return ca ? `${ca.cn || ca.subject} (${short(ca.serial)})` : short(id);
}

export function whom_device(device: { id: string; cn: string; ca_id: string }, cas: Map<string, Ca>): One {
  const t = texts.peek().ui;
  return { name: device.cn, facts: [[t.id, short(device.id)], [t.ca, of_ca(device.ca_id, cas)]] };
}

export function whom_devices(devices: Iterable<Device>, cas: Map<string, Ca>): One[] {
  return [...devices].map((each) => whom_device(each, cas));
}

export function whom_session(one: LiveSession, cas: Map<string, Ca>): One {
  const t = texts.peek();
  const facts: One['facts'] = [];
  if (one.device_id) facts.push([t.ui.id, short(one.device_id)]);
  if (one.ca_id) facts.push([t.ui.ca, of_ca(one.ca_id, cas)]);
  facts.push([t.sessions.client_id, one.client_id], [t.sessions.peer, one.peer]);
  return { name: one.cn ?? t.sessions.without, facts };
}

export function whom_ca(ca: Ca): One {
  const t = texts.peek();
  return { name: ca.cn || ca.subject, facts: [[t.cas.serial, short(ca.serial)], [t.ui.id, short(ca.id)]] };
}
