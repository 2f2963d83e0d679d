// The frame: sign-in or the console, its navigation, and the banner while the server is away.
import { useEffect, useRef, useState } from 'preact/hooks';
import { pages } from './pages';
import { Link, place } from './route';
import { last_asked, lost, session, session_over, sign_out, stay } from './session';
import { language, speak, texts, type Language } from './texts';
import { ActDialog } from './ui/act';
import { Loading, Page } from './ui/page';
import { Logo } from './ui/logo';
import { SignIn } from './pages/sign-in';

export function App() {
  const who = session.value;
  if (who === undefined) return <div class="before">{lost.value ? <Banner /> : <Loading />}</div>;
  if (who === null) return <SignIn />;
  return <Frame />;
}

function Banner() {
  return lost.value ? (
    <p class="banner banner-bad" role="alert">
      {texts.value.app.lost}
    </p>
  ) : null;
}

// Says a minute before that the session ends for want of anything done.
function IdleBanner() {
  const t = texts.value.app;
  const [left, set_left] = useState(Infinity);
  const idle = session.value?.idle_seconds ?? 900;
  useEffect(() => {
    const timer = setInterval(() => {
      const seconds = Math.ceil(idle - (Date.now() - last_asked.peek()) / 1000);
      set_left(seconds);
      if (seconds <= 0 && !lost.peek()) session_over('ended');
    }, 1000);
    return () => clearInterval(timer);
  }, [idle]);
  if (left > 60) return null;
  return (
    <div class="banner" role="alert">
      <span>{t.idle(Math.max(0, left))}</span>
      <button type="button" class="button button-small" onClick={() => void stay()}>
        {t.stay}
      </button>
    </div>
  );
}

export function Languages() {
  const t = texts.value.language;
  const names: [Language, string][] = [
    ['en', 'English'],
    ['zh', '中文'],
  ];
  return (
    <div class="languages" role="group" aria-label={t.switch}>
      {names.map(([each, name]) => (
        <button key={each} type="button" lang={each === 'zh' ? 'zh-CN' : 'en'} aria-pressed={language.value === each} onClick={() => speak(each)}>
          {name}
        </button>
      ))}
    </div>
  );
}

type Item = [to: string, name: keyof (typeof texts.value)['nav']];
const GROUPS: ['watch' | 'trust' | 'run' | 'keep', Item[]][] = [
  ['watch', [['/', 'overview'], ['/refusals', 'refusals'], ['/audit', 'audit']]],
  ['trust', [['/cas', 'cas'], ['/devices', 'devices'], ['/approvals', 'approvals'], ['/crls', 'crls'], ['/server-certificates', 'server_certificates']]],
  ['run', [['/sessions', 'sessions'], ['/listeners', 'listeners'], ['/brokers', 'brokers']]],
  ['keep', [['/tokens', 'tokens'], ['/backup', 'backup'], ['/settings', 'settings']]],
];

function Navigation({ on }: { on: () => void }) {
  const t = texts.value.nav;
  const path = place.value.path;
  return (
    <nav class="nav" id="nav" aria-label={texts.value.app.console} onClick={on}>
      {GROUPS.map(([group, items]) => (
        <div key={group} class="nav-group">
          <p class="nav-title">{t.groups[group]}</p>
          <ul>
            {items.map(([to, name]) => (
              <li key={to}>
                <Link to={to} current={to === '/' ? path === '/' : path === to || path.startsWith(`${to}/`)}>
                  {t[name] as string}
                </Link>
              </li>
            ))}
          </ul>
        </div>
      ))}
    </nav>
  );
}

function Frame() {
  const t = texts.value.app;
  const who = session.value;
  const [menu, set_menu] = useState(false);
  const main = useRef<HTMLElement>(null);
  const menu_button = useRef<HTMLButtonElement>(null);
  const { path } = place.value;
  useEffect(() => set_menu(false), [path]);
  if (!who) return null;
  return (
    <div class="frame">
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          main.current?.focus();
        }}
      >
        {t.skip}
      </a>
      <header
        class={`side${menu ? ' side-open' : ''}`}
        onKeyDown={(event) => {
          if (event.key !== 'Escape' || !menu) return;
          set_menu(false);
          menu_button.current?.focus();
        }}
      >
        <div class="brand">
          <Logo />
          <span class="brand-name">{t.name}</span>
          <button type="button" ref={menu_button} class="menu-button" aria-expanded={menu} aria-controls="nav" onClick={() => set_menu(!menu)}>
            {t.menu}
          </button>
        </div>
        <Navigation on={() => set_menu(false)} />
        <div class="who">
          <p>
            <bdi class="who-name">{who.name}</bdi>
            <span class="who-role">{t.role[who.role] ?? who.role}</span>
          </p>
          <button type="button" class="button button-small button-side" onClick={() => void sign_out()}>
            {t.sign_out}
          </button>
          <Languages />
          {who.version && <p class="who-version">{t.version(who.version)}</p>}
        </div>
      </header>
      <div class="body">
        <Banner />
        <IdleBanner />
        <main id="main" tabIndex={-1} ref={main}>
          <Content path={path} />
        </main>
      </div>
      <ActDialog />
    </div>
  );
}

function Content({ path }: { path: string }) {
  const found = pages(path);
  if (found) return found;
  return (
    <Page title={texts.value.app.not_found}>
      <Link to="/">{texts.value.app.go_overview}</Link>
    </Page>
  );
}
