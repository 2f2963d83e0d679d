// A refusal of the server in its own words, with what to do about it.
import { Problem } from '../api/http';
import { texts } from '../texts';

interface ProblemProps {
  problem: Problem;
  retry?: () => void;
  what_to_do?: string | undefined; // where the page knows better than the status says
}

export function ProblemBox({ problem, retry, what_to_do }: ProblemProps) {
  const t = texts.value.problem;
  const remedy = what_to_do ?? t.by_status[problem.status] ?? (problem.status >= 500 ? t.by_status[500] : undefined);
  return (
    <div class="problem" role="alert">
      <p class="problem-title">{problem.status === 0 ? t.away : t.title}</p>
      <p>{problem.status === 0 ? t.unreachable : <bdi>{problem.detail}</bdi>}</p>
      {remedy && (
        <p class="problem-remedy">
          <strong>{t.remedy}:</strong> {remedy}
        </p>
      )}
      {retry && (
        <button type="button" class="button" onClick={retry}>
          {texts.value.ui.retry}
        </button>
      )}
    </div>
  );
}
