// The token goes to the server once, over POST, and is forgotten here.
import { useEffect, useRef, useState } from 'preact/hooks';
import { Languages } from '../app';
import { sign_in, why_out, type SignInFailure } from '../session';
import { texts } from '../texts';
import { Logo } from '../ui/logo';

export function SignIn() {
  const t = texts.value.sign_in;
  const input = useRef<HTMLInputElement>(null);
  const [shown, set_shown] = useState(false);
  const [busy, set_busy] = useState(false);
  const [failure, set_failure] = useState<SignInFailure | 'empty'>();
  useEffect(() => {
    document.title = `${t.title} · ${texts.value.app.name}`;
    input.current?.focus();
  }, [t]);
  const submit = async () => {
    const token = input.current?.value.trim() ?? '';
    if (!token) {
      set_failure('empty');
      input.current?.focus();
      return;
    }
    set_busy(true);
    const failed = await sign_in(token);
    set_busy(false);
    if (failed) {
      set_failure(failed);
      input.current?.focus();
      input.current?.select();
    } else if (input.current) {
      input.current.value = '';
    }
  };
  const why = { '': '', ended: t.ended, restarted: t.restarted, 'signed-out': t.signed_out }[why_out.value];
  return (
    <main class="gatehouse" id="main">
      <div class="gatehouse-card">
        <div class="gatehouse-brand">
          <Logo />
          <span>{texts.value.app.name}</span>
        </div>
        <h1>{t.title}</h1>
        <p class="lead">{t.lead}</p>
        {why && (
          <p class="note" role="status">
            {why}
          </p>
        )}
        <form
          onSubmit={(event) => {
            event.preventDefault();
            void submit();
          }}
        >
          <div class="field">
            <label for="token">{t.token}</label>
            <div class="with-button">
              <input
                ref={input}
                id="token"
                type={shown ? 'text' : 'password'}
                autocomplete="off"
                spellcheck={false}
                aria-describedby="token-says"
                aria-invalid={failure !== undefined}
              />
              <button type="button" class="button" onClick={() => set_shown(!shown)} aria-label={shown ? t.hide : t.show} aria-pressed={shown}>
                <svg viewBox="0 0 20 20" width="18" height="18" aria-hidden="true">
                  <path d="M1.5 10S4.5 4.5 10 4.5 18.5 10 18.5 10 15.5 15.5 10 15.5 1.5 10 1.5 10Z" fill="none" stroke="currentColor" stroke-width="1.5" />
                  <circle cx="10" cy="10" r="2.6" fill="currentColor" />
                  {!shown && <path d="M3 17 17 3" stroke="currentColor" stroke-width="1.5" />}
                </svg>
              </button>
            </div>
          </div>
          <div id="token-says">
            {failure && (
              <p class="fault" role="alert">
                {says(failure)}
              </p>
            )}
          </div>
          <button type="submit" class="button button-main button-wide" disabled={busy}>
            {busy ? t.busy : t.button}
          </button>
        </form>
        <p class="hint">
          {t.hint}
          <code class="command">{t.command}</code>
        </p>
        <Languages />
      </div>
    </main>
  );
}

function says(failure: SignInFailure | 'empty'): string {
  const t = texts.value.sign_in;
  if (failure === 'empty') return t.empty;
  if (failure.kind === 'wrong') return t.wrong;
  if (failure.kind === 'too-many') return t.too_many(failure.seconds ?? 60);
  if (failure.kind === 'unreachable') return t.unreachable;
  return failure.detail ?? '';
}
