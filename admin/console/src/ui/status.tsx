// Status by shape and word as well as by colour.
import { texts } from '../texts';

type Tone = 'good' | 'off' | 'wait' | 'bad' | 'note';

const TONES: Record<string, Tone> = {
  active: 'good',
  up: 'good',
  current: 'good',
  admitted: 'good',
  inactive: 'off',
  drained: 'off',
  pending: 'wait',
  warning: 'wait',
  resolving: 'wait',
  overdue: 'bad',
  revoked: 'bad',
  expired: 'bad',
  refused: 'bad',
  down: 'bad',
  error: 'bad',
  info: 'note',
};

function Shape({ tone }: { tone: Tone }) {
  return (
    <svg class="shape" viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">
      {tone === 'good' && <circle cx="6" cy="6" r="4.5" fill="currentColor" />}
      {tone === 'off' && <circle cx="6" cy="6" r="4" fill="none" stroke="currentColor" stroke-width="1.8" />}
      {tone === 'wait' && <path d="M6 0.8 11.4 11H0.6Z" fill="currentColor" />}
      {tone === 'bad' && <path d="M2 2l8 8M10 2l-8 8" stroke="currentColor" stroke-width="2.4" stroke-linecap="round" />}
      {tone === 'note' && <rect x="1.8" y="1.8" width="8.4" height="8.4" rx="1" fill="currentColor" />}
    </svg>
  );
}

export function Status({ is, word }: { is: string; word?: string }) {
  const tone = TONES[is] ?? 'note';
  return (
    <span class={`status tone-${tone}`}>
      <Shape tone={tone} />
      <span>{word ?? texts.value.status[is] ?? is}</span>
    </span>
  );
}

// A device's: its own, and what stands above it where that refuses it.
export function Standing({ own, effective }: { own: string; effective: string }) {
  if (own === effective) return <Status is={own} />;
  const reason = texts.value.reasons[effective] ?? effective;
  return (
    <span class="standing">
      <Status is="refused" word={reason} />
    </span>
  );
}
