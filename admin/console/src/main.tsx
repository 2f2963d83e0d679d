import './style/tokens.css';
import './style/base.css';
import './style/layout.css';
import './style/parts.css';
import './style/table.css';
import './style/pages.css';
import { render } from 'preact';
import { App } from './app';
import { begin } from './session';

const root = document.getElementById('app');
if (root) {
  void begin();
  render(<App />, root);
}
