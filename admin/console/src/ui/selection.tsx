// What is chosen in a list, and what can be done to it. A choice stays as it is while the list refreshes and is paged
// through. What can be done to all that match stands in a bar of its own, and neither bar takes the other's place: a
// button never comes to mean something else while somebody goes for it.
import type { ComponentChildren } from 'preact';
import { texts } from '../texts';

interface SelectionProps<T> {
  chosen: Map<string, T>;
  shown: string[]; // ids of the rows on this page
  clear: () => void;
  children: (disabled: boolean) => ComponentChildren;
}

export function SelectionBar<T>({ chosen, shown, clear, children }: SelectionProps<T>) {
  const t = texts.value.ui;
  const none = chosen.size === 0;
  return (
    <div class="bulk bulk-chosen" role="group" aria-label={t.of_selection}>
      <span class="bulk-on" role="status">
        {none ? t.none_selected : t.selected(chosen.size, shown.filter((id) => chosen.has(id)).length)}
      </span>
      {children(none)}
      <button type="button" class="button button-small button-plain" disabled={none} onClick={clear}>
        {t.clear_selection}
      </button>
    </div>
  );
}

export function AllBar({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    <div class="bulk bulk-all" role="group" aria-label={label}>
      <span class="bulk-on">{label}</span>
      {children}
    </div>
  );
}
