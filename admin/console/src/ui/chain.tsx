// A chain of certificates as a picture: the device at the left, each issuer to its right, a link that is broken where
// one above is not in good standing.
import { texts } from '../texts';
import { cn_of, day, visible } from './words';

export interface ChainLink {
  kind: 'device' | 'between' | 'ca'; // between: an intermediate that the device sent
  subject: string;
  not_after: string | null;
  status: string | null; // the device's own, or a reason why this one lets nobody in
}

const WIDE = 214;
const HIGH = 86;
const GAP = 46;

function cut(text: string, most: number): string {
  const shown = visible(text);
  return [...shown].length > most ? `${[...shown].slice(0, most - 1).join('')}…` : shown;
}

export function Chain({ links }: { links: ChainLink[] }) {
  const t = texts.value;
  const width = links.length * WIDE + (links.length - 1) * GAP;
  const says = links.map((each) => `${t.devices.chain_kinds[each.kind]} ${visible(cn_of(each.subject))}${each.status ? `, ${t.status[each.status] ?? each.status}` : ''}`);
  return (
    <div class="chain-box" tabIndex={0} role="group" aria-label={t.devices.chain}>
      <svg class="chain" width={width} height={HIGH} viewBox={`0 0 ${width} ${HIGH}`} role="img" aria-label={t.devices.chain_says(says.join('; '))}>
        {links.map((link, index) => {
          const x = index * (WIDE + GAP);
          const bad = link.status !== null && link.status !== 'active';
          const next = links[index + 1];
          const broken = next?.status !== undefined && next.status !== null && next.status !== 'active';
          return (
            <g key={index}>
              <rect class={`link link-${link.kind}${bad ? ' link-bad' : ''}`} x={x + 1} y={1} width={WIDE - 2} height={HIGH - 2} rx={link.kind === 'ca' ? 2 : 10} />
              <text class="link-kind" x={x + 14} y={22}>
                {t.devices.chain_kinds[link.kind]}
                {link.status ? ` · ${t.status[link.status] ?? link.status}` : ''}
              </text>
              <svg x={x + 14} y={0} width={WIDE - 28} height={HIGH}>
                <text class="link-name" x={0} y={45}>
                  {cut(cn_of(link.subject), 24)}
                </text>
              </svg>
              <text class="link-end" x={x + 14} y={68}>
                {link.not_after ? `→ ${day(link.not_after)}` : ''}
              </text>
              {next && (
                <g class={broken ? 'tie tie-broken' : 'tie'}>
                  <path d={`M${x + WIDE + 2} ${HIGH / 2}h${GAP - 4}`} />
                  {broken && <path d={`M${x + WIDE + GAP / 2 - 6} ${HIGH / 2 - 8}l12 16`} />}
                </g>
              )}
            </g>
          );
        })}
      </svg>
    </div>
  );
}
