// Tokens: making one, which is shown this once, and revoking one.
import { useState } from 'preact/hooks';
import { ask } from '../api/http';
import { useAll } from '../api/live';
import type { Token } from '../api/objects';
import { may_change, session } from '../session';
import { texts } from '../texts';
import { act } from '../ui/act';
import { Choice, Copy, Loading, Page, Section } from '../ui/page';
import { ProblemBox } from '../ui/problem';
import { Table, type Column } from '../ui/table';
import { Ago, Name, visible } from '../ui/words';

function revoke(token: Token): void {
  const t = texts.peek().tokens;
  const own = token.name === session.peek()?.name;
  act({
    title: t.act.revoke_title(visible(token.name)),
    verb: t.revoke,
    danger: true,
    type: texts.peek().devices.act.word['revoke'] ?? 'revoke',
    for_good: true,
    impact: () =>
      Promise.resolve(
        <>
          <p class="impact">{t.act.revoke_impact}</p>
          {own && <p class="impact">{t.act.revoke_own}</p>}
        </>,
      ),
    run: async () => {
      await ask(`/v1/tokens/${encodeURIComponent(token.name)}`, { method: 'DELETE' });
      return <p>{t.act.revoked(token.name)}</p>;
    },
  });
}

export function Tokens() {
  const t = texts.value.tokens;
  const list = useAll<Token>('/v1/tokens', 30);
  const columns: Column<Token>[] = [
    {
      head: t.name,
      class: 'col-name',
      cell: (one) => (
        <span>
          <Name>{one.name}</Name>
          {one.name === session.value?.name && <span class="mark">{t.yours}</span>}
        </span>
      ),
    },
    { head: t.role, cell: (one) => `${texts.value.app.role[one.role] ?? one.role}: ${one.role === 'viewer' ? t.viewer_says : t.operator_says}` },
    { head: t.created, cell: (one) => <Ago at={one.created_at} /> },
    { head: t.ends, cell: (one) => (one.expires_at ? <Ago at={one.expires_at} ahead /> : <span class="quiet">{t.ttls['']}</span>) },
  ];
  if (may_change.value)
    columns.push({
      head: texts.value.ui.actions,
      acts: true,
      cell: (one) => (
        <button type="button" class="button button-small button-quiet-danger" onClick={() => revoke(one)}>
          {t.revoke}
        </button>
      ),
    });
  return (
    <Page title={t.title} lead={t.lead}>
      {list.problem && <ProblemBox problem={list.problem} retry={list.reload} />}
      {!list.data && !list.problem && <Loading />}
      {list.data && <Table label={t.title} columns={columns} rows={list.data.items} id={(one) => one.name} />}
      {may_change.value && (
        <Section title={t.create}>
          <Create />
        </Section>
      )}
    </Page>
  );
}

function Create() {
  const t = texts.value.tokens;
  const [name, set_name] = useState('');
  const [role, set_role] = useState('viewer');
  const [ttl, set_ttl] = useState('2592000');
  const create = () =>
    act({
      title: t.act.create_title(visible(name)),
      verb: t.create,
      impact: () =>
        Promise.resolve(
          <>
            <p class="impact">{role === 'operator' ? t.act.create_operator : t.act.create_viewer}</p>
            <p>
              {t.ttl}: {t.ttls[ttl] ?? ttl}
            </p>
          </>,
        ),
      run: async () => {
        const made = await ask<Token>('/v1/tokens', { method: 'POST', body: { name, role, ttl_seconds: ttl ? Number(ttl) : null } });
        set_name('');
        return (
          <>
            <p>{t.act.created}</p>
            <code class="secret">{made.token}</code>
            <Copy text={made.token ?? ''} label={t.title} />
          </>
        );
      },
    });
  return (
    <form
      class="filters"
      onSubmit={(event) => {
        event.preventDefault();
        if (name.trim()) create();
      }}
    >
      <div class="field">
        <label for="token-name">{t.name}</label>
        <input id="token-name" type="text" autocomplete="off" value={name} placeholder="" aria-describedby="token-name-hint" onInput={(event) => set_name(event.currentTarget.value)} />
      </div>
      <Choice
        label={t.role}
        value={role}
        on={set_role}
        options={(['viewer', 'operator'] as const).map((each): [string, string] => [each, `${texts.value.app.role[each]}: ${each === 'viewer' ? t.viewer_says : t.operator_says}`])}
      />
      <Choice label={t.ttl} value={ttl} on={set_ttl} options={['86400', '2592000', '31536000', ''].map((each): [string, string] => [each, t.ttls[each] ?? each])} />
      <button type="submit" class="button button-main" disabled={!name.trim()}>
        {t.create}
      </button>
      <p class="hint hint-whole" id="token-name-hint">
        {t.name}: {t.name_hint}
      </p>
    </form>
  );
}
