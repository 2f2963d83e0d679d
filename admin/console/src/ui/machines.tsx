// Which machine of a shared registry is looked at. Where there is one alone, nothing of it is shown.
import { useAll } from '../api/live';
import type { Machine } from '../api/objects';
import { texts } from '../texts';
import { Choice } from './page';

export const EVERYWHERE = '*';

// The names of all; empty where this machine is the only one.
export function useMachines(): string[] {
  const found = useAll<Machine>('/v1/nodes', 30);
  const names = (found.data?.items ?? []).map((each) => each.name);
  return names.length > 1 ? names : [];
}

interface MachineChoiceProps {
  names: string[];
  value: string;
  on: (value: string) => void;
}

export function MachineChoice({ names, value, on }: MachineChoiceProps) {
  const t = texts.value.machines;
  if (names.length === 0 && value === '') return null;
  const known = names.map((name): [string, string] => [name, name]);
  const asked: [string, string][] = value === '' || value === EVERYWHERE || names.includes(value) ? [] : [[value, value]];
  return <Choice label={t.machine} value={value} on={on} options={[['', t.this_one], ...known, ...asked, [EVERYWHERE, t.all]]} />;
}

export function Silent({ names }: { names: string[] }) {
  if (names.length === 0) return null;
  return (
    <p class="note" role="status">
      {texts.value.machines.silent(names.join(', '))}
    </p>
  );
}
