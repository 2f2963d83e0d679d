import './style/tokens.css';
import './style/base.css';
import './style/layout.css';
import './style/parts.css';
import './style/table.css';
import './style/pages.css';
import { render } from 'preact';
import { App } from './app';
import { begin } from './session';

// A file that is dropped beside its field must not take the page away.
for (const kind of ['dragover', 'drop'] as const) addEventListener(kind, (event) => event.preventDefault());

const root = document.getElementById('app');
if (root) {
  void begin();
  render(<App />, root);
}
