// A button that gives a certificate to the browser as a file.
import { useState } from 'preact/hooks';
import { ask_text, save, type Problem } from '../api/http';
import { texts } from '../texts';
import { as_problem } from './act';
import { ProblemBox } from './problem';

export function Download({ path, name }: { path: string; name: string }) {
  const [problem, set_problem] = useState<Problem>();
  const get = async () => {
    set_problem(undefined);
    try {
      save(await ask_text(path), name, 'application/x-pem-file');
    } catch (error) {
      set_problem(as_problem(error));
    }
  };
  return (
    <>
      <button type="button" class="button" onClick={() => void get()}>
        {texts.value.ui.download}
      </button>
      {problem && <ProblemBox problem={problem} />}
    </>
  );
}
