// A table of objects. On a phone each row becomes a card, whose cells say their column's name. The roles are written
// out, because a browser forgets them when CSS changes the display of rows.
import type { ComponentChildren } from 'preact';
import { texts } from '../texts';

export interface Column<T> {
  head: string;
  cell: (row: T) => ComponentChildren;
  class?: string;
  acts?: boolean; // holds the row's buttons
}

interface TableProps<T> {
  label: string;
  columns: Column<T>[];
  rows: T[];
  id: (row: T) => string;
  chosen?: Map<string, T>; // also rows of other pages, and rows that are gone
  choose?: (chosen: Map<string, T>) => void;
  name?: (row: T) => string; // for "Select NAME"
}

export function Table<T>({ label, columns, rows, id, chosen, choose, name }: TableProps<T>) {
  const t = texts.value.ui;
  const all = rows.length > 0 && chosen !== undefined && rows.every((row) => chosen.has(id(row)));
  const turn = (which: T[], on: boolean) => {
    const next = new Map(chosen);
    for (const each of which) {
      if (on) next.set(id(each), each);
      else next.delete(id(each));
    }
    choose?.(next);
  };
  return (
    <div class="table-box">
      <table role="table" aria-label={label}>
        <thead role="rowgroup">
          <tr role="row">
            {choose && (
              <th role="columnheader" class="col-choose">
                <input
                  type="checkbox"
                  aria-label={t.select_all}
                  checked={all}
                  onChange={(event) => turn(rows, event.currentTarget.checked)}
                />
              </th>
            )}
            {columns.map((column) => (
              <th role="columnheader" key={column.head} class={column.class}>
                {column.acts ? <span class="out-of-sight">{column.head}</span> : column.head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody role="rowgroup">
          {rows.map((row) => {
            const key = id(row);
            return (
              <tr role="row" key={key} class={chosen?.has(key) ? 'is-chosen' : undefined}>
                {choose && (
                  <td role="cell" class="col-choose">
                    <input
                      type="checkbox"
                      aria-label={t.select(name?.(row) ?? key)}
                      checked={chosen?.has(key) ?? false}
                      onChange={(event) => turn([row], event.currentTarget.checked)}
                    />
                  </td>
                )}
                {columns.map((column) => (
                  <td role="cell" key={column.head} class={`${column.class ?? ''}${column.acts ? ' col-acts' : ''}`} data-head={column.acts ? '' : column.head}>
                    {column.cell(row)}
                  </td>
                ))}
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
