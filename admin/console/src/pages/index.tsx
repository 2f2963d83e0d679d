// Which page a path shows.
import type { VNode } from 'preact';
import { Audit } from './audit';
import { Ca } from './ca';
import { Cas } from './cas';
import { Crls } from './crls';
import { Device } from './device';
import { Devices } from './devices';
import { Overview } from './overview';
import { RegisterCa } from './register-ca';
import { Sessions } from './sessions';

export function pages(path: string): VNode | null {
  const [, first = '', second = ''] = path.split('/');
  if (path.split('/').length > 3) return null;
  switch (first) {
    case '':
      return <Overview />;
    case 'cas':
      if (second === 'register') return <RegisterCa />;
      return second ? <Ca key={second} id={second} /> : <Cas />;
    case 'devices':
      return second ? <Device key={second} id={second} /> : <Devices />;
    case 'sessions':
      return second ? null : <Sessions />;
    case 'crls':
      return second ? null : <Crls />;
    case 'audit':
      return second ? null : <Audit />;
    default:
      return null;
  }
}
