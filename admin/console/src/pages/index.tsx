// Which page a path shows.
import type { VNode } from 'preact';
import { Approvals } from './approvals';
import { Audit } from './audit';
import { Backup } from './backup';
import { Brokers } from './brokers';
import { Ca } from './ca';
import { Cas } from './cas';
import { Crls } from './crls';
import { Device } from './device';
import { Devices } from './devices';
import { Import } from './import';
import { Listeners } from './listeners';
import { Overview } from './overview';
import { Refusals } from './refusals';
import { RegisterCa } from './register-ca';
import { ServerCertificates } from './server-certificates';
import { Sessions } from './sessions';
import { Settings } from './settings';
import { Tokens } from './tokens';

const FLAT: Record<string, () => VNode> = {
  '/': Overview,
  '/approvals': Approvals,
  '/audit': Audit,
  '/backup': Backup,
  '/brokers': Brokers,
  '/cas': Cas,
  '/cas/register': RegisterCa,
  '/crls': Crls,
  '/devices': Devices,
  '/import': Import,
  '/listeners': Listeners,
  '/refusals': Refusals,
  '/server-certificates': ServerCertificates,
  '/sessions': Sessions,
  '/settings': Settings,
  '/tokens': Tokens,
};

export function pages(path: string): VNode | null {
  const flat = FLAT[path];
  if (flat) {
    const Shown = flat;
    return <Shown key={path} />;
  }
  const [, kind, id] = /^\/(cas|devices)\/([0-9a-f]{8,64})$/.exec(path) ?? [];
  if (!kind || !id) return null;
  return kind === 'cas' ? <Ca key={id} id={id} /> : <Device key={id} id={id} />;
}
