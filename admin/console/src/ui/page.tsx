// The furniture of a page: its head, sections, boxes that are empty, fields of a filter, the way through a long list.
import type { ComponentChildren } from 'preact';
import { useEffect, useId, useState } from 'preact/hooks';
import type { Pages } from '../api/live';
import { texts } from '../texts';

interface PageProps {
  title: string;
  lead?: string;
  above?: ComponentChildren; // the way back
  aside?: ComponentChildren; // the page's own actions
  children: ComponentChildren;
}

export function Page({ title, lead, above, aside, children }: PageProps) {
  const shown = `${title} · ${texts.value.app.name}`;
  useEffect(() => {
    document.title = shown;
  }, [shown]);
  return (
    <>
      {above && <div class="way-back">{above}</div>}
      <header class="page-head">
        <div>
          <h1>{title}</h1>
          {lead && <p class="lead">{lead}</p>}
        </div>
        {aside && <div class="page-acts">{aside}</div>}
      </header>
      {children}
    </>
  );
}

export function Section({ title, aside, children }: { title: string; aside?: ComponentChildren; children: ComponentChildren }) {
  const id = useId();
  return (
    <section class="section" aria-labelledby={id}>
      <div class="section-head">
        <h2 id={id}>{title}</h2>
        {aside}
      </div>
      {children}
    </section>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

export function Loading() {
  return (
    <p class="empty" role="status">
      {texts.value.ui.loading}
    </p>
  );
}

// Names beside their values.
export function Facts({ rows }: { rows: [string, ComponentChildren][] }) {
  return (
    <dl class="facts">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

interface FieldProps {
  label: string;
  value: string;
  on: (value: string) => void;
  type?: 'search' | 'text' | 'date';
  narrow?: boolean;
}

// A text that filters: told a moment after the last key.
export function TextFilter({ label, value, on, type = 'search', narrow }: FieldProps) {
  const id = useId();
  const [typed, set_typed] = useState(value);
  useEffect(() => set_typed(value), [value]);
  useEffect(() => {
    if (typed === value) return;
    const timer = setTimeout(() => on(typed), 350);
    return () => clearTimeout(timer);
  }, [typed]);
  return (
    <div class={`field${narrow ? ' field-narrow' : ''}`}>
      <label for={id}>{label}</label>
      <input
        id={id}
        type={type}
        value={typed}
        autocomplete="off"
        spellcheck={false}
        onInput={(event) => set_typed(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === 'Enter') on(typed);
        }}
      />
    </div>
  );
}

interface ChoiceProps {
  label: string;
  value: string;
  on: (value: string) => void;
  options: [value: string, word: string][];
}

export function Choice({ label, value, on, options }: ChoiceProps) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <select id={id} value={value} onChange={(event) => on(event.currentTarget.value)}>
        {options.map(([each, word]) => (
          <option key={each} value={each}>
            {word}
          </option>
        ))}
      </select>
    </div>
  );
}

export function Tick({ label, value, on, hint }: { label: string; value: boolean; on: (value: boolean) => void; hint?: string }) {
  const id = useId();
  return (
    <div class="tick">
      <input
        id={id}
        type="checkbox"
        checked={value}
        aria-describedby={hint ? `${id}-hint` : undefined}
        onChange={(event) => on(event.currentTarget.checked)}
      />
      <label for={id}>{label}</label>
      {hint && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
    </div>
  );
}

export function Pager<T>({ pages }: { pages: Pages<T> }) {
  const t = texts.value.ui;
  return (
    <div class="pager">
      <span role="status" class="pager-says">
        {pages.loading ? t.searching(pages.items.length) : pages.away && pages.items.length === 0 ? t.loading : ''}
      </span>
      {pages.loading && pages.items.length >= 0 && pages.more && (
        <button type="button" class="button" onClick={pages.stop}>
          {t.stop}
        </button>
      )}
      {(pages.page > 1 || pages.more) && (
        <nav class="pager-ways" aria-label={t.page(pages.page)}>
          <button type="button" class="button" disabled={pages.page === 1} onClick={pages.previous}>
            {t.previous}
          </button>
          <span>{t.page(pages.page)}</span>
          <button type="button" class="button" disabled={!pages.more || pages.loading} onClick={pages.next}>
            {t.next}
          </button>
        </nav>
      )}
    </div>
  );
}

export function Copy({ text, label }: { text: string; label?: string }) {
  const [done, set_done] = useState(false);
  const t = texts.value.ui;
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Over plain HTTP from another machine there is no clipboard: select it the old way.
      const area = document.createElement('textarea');
      area.value = text;
      area.className = 'out-of-sight';
      (document.querySelector('dialog[open]') ?? document.body).append(area);
      area.select();
      document.execCommand('copy');
      area.remove();
    }
    set_done(true);
    setTimeout(() => set_done(false), 2000);
  };
  return (
    <button type="button" class="button button-small" onClick={() => void copy()} aria-label={label ? `${t.copy}: ${label}` : undefined}>
      <span aria-live="polite">{done ? t.copied : t.copy}</span>
    </button>
  );
}
