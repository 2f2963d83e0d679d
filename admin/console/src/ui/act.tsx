// Every change goes through this dialog: it says what the change will hit, asks, does it, and shows in words what the
// server answered.
import { signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { Problem } from '../api/http';
import { changed, lost } from '../session';
import { texts } from '../texts';
import { ProblemBox } from './problem';

export interface Act {
  title: string;
  verb: string;
  danger?: boolean;
  impact: (stop: AbortSignal) => Promise<ComponentChildren>; // asked for when the dialog opens, until it is closed
  run: (progress: (done: number, all: number) => void) => Promise<ComponentChildren>; // what was done, in words
  type?: string; // a word to be typed first: for what cannot be taken back, or hits everything
  for_good?: boolean; // it cannot be taken back, and the dialog says so
  what_to_do?: (problem: Problem) => string | undefined; // where the page knows better than the status says
  possible?: () => boolean; // asked after the impact is known
  after?: () => void; // when the dialog is closed after it was done
}

const open = signal<Act | null>(null);

export function act(what: Act): void {
  open.value = what;
}

export function as_problem(error: unknown): Problem {
  return error instanceof Problem ? error : new Problem(500, '', String(error));
}

export function ActDialog() {
  const what = open.value;
  return what ? <Opened key={what.title} what={what} /> : null;
}

type Stage = 'looking' | 'asking' | 'working' | 'done';

function Opened({ what }: { what: Act }) {
  const t = texts.value.ui;
  const dialog = useRef<HTMLDialogElement>(null);
  const from = useRef(document.activeElement);
  const id = useId();
  const [stage, set_stage] = useState<Stage>('looking');
  const [impact, set_impact] = useState<ComponentChildren>(null);
  const [outcome, set_outcome] = useState<ComponentChildren>(null);
  const [problem, set_problem] = useState<Problem>();
  const [progress, set_progress] = useState<[number, number]>();
  const [typed, set_typed] = useState('');

  useEffect(() => {
    dialog.current?.showModal();
    const stop = new AbortController();
    what.impact(stop.signal).then(
      (found) => {
        if (stop.signal.aborted) return;
        set_impact(found);
        set_stage('asking');
      },
      (error: unknown) => {
        if (stop.signal.aborted) return;
        set_problem(as_problem(error));
        set_stage('done');
      },
    );
    return () => {
      stop.abort();
      if (open.peek() === what) open.value = null; // the session is over: it must not come back after the next sign-in
    };
  }, []);

  const close = () => {
    dialog.current?.close(); // while it is open, nothing behind it takes the focus
    if (from.current instanceof HTMLElement && from.current.isConnected) from.current.focus();
    open.value = null;
    if (stage === 'done' && !problem) what.after?.();
  };
  const run = async () => {
    set_stage('working');
    set_problem(undefined);
    try {
      set_outcome(await what.run((done, all) => set_progress([done, all])));
      set_stage('done');
      changed();
    } catch (error) {
      set_problem(as_problem(error));
      set_stage('asking');
      if (!lost.peek()) changed(); // some of many may have been done
    }
  };
  const ready = stage === 'asking' && (what.possible?.() ?? true) && (!what.type || typed === what.type);
  return (
    <dialog
      ref={dialog}
      class="act"
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        if (stage !== 'working') close();
      }}
    >
      <form
        method="dialog"
        onSubmit={(event) => {
          event.preventDefault();
          if (ready) void run();
        }}
      >
        <h2 id={id}>
          <bdi>{stage !== 'done' ? what.title : problem ? t.not_done(what.verb) : t.done(what.verb)}</bdi>
        </h2>
        <div class="act-body">
          {stage === 'looking' && <p role="status">{t.looking}</p>}
          {stage !== 'done' && impact}
          {what.type && stage === 'asking' && (
            <div class="field">
              <label for={`${id}-type`}>{what.for_good ? t.type_for_good(what.type) : t.type_to_confirm(what.type)}</label>
              <input id={`${id}-type`} autocomplete="off" value={typed} onInput={(event) => set_typed(event.currentTarget.value)} />
            </div>
          )}
          {stage === 'working' && (
            <p role="status">
              {t.working} {progress && t.progress(...progress)}
            </p>
          )}
          {problem && <ProblemBox problem={problem} what_to_do={what.what_to_do?.(problem)} />}
          {outcome && (
            <div class="outcome" role="status">
              {outcome}
            </div>
          )}
        </div>
        <div class="act-foot">
          {stage === 'done' ? (
            <button type="button" class="button button-main" onClick={close} ref={(it) => it?.focus()}>
              {t.close}
            </button>
          ) : (
            <>
              <button type="button" class="button" disabled={stage === 'working'} onClick={close}>
                {t.cancel}
              </button>
              <button type="submit" class={`button ${what.danger ? 'button-danger' : 'button-main'}`} disabled={!ready}>
                {what.verb}
              </button>
            </>
          )}
        </div>
      </form>
    </dialog>
  );
}
