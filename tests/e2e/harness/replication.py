"""A streaming standby of a PostgreSQL of the tests."""

from .postgres import Postgres
from .wait import until


class Standby(Postgres):
    """Made from a base backup, and follows. `name`: as the primary knows it, in synchronous_standby_names."""

    def __init__(self, folder, primary, name="standby"):
        self._place(folder)
        self._run("pg_basebackup", "-D", self.data, "-d", f"{primary.url}?application_name={name}", "-R", "-X", "stream",
                  "-c", "fast", "--no-sync")
        self._configure()
        self.name = name

    def follows(self, primary):
        """It has everything that the primary has written."""
        until("the standby has it all", lambda: primary.sql(
            f"select 1 from pg_stat_replication where application_name = '{self.name}' and "
            "replay_lsn >= pg_current_wal_lsn()"))
        return self

    def cut_off(self):
        """From here on it receives nothing, and does not know."""
        self.sql("alter system set primary_conninfo = ''")
        self.sql("select pg_reload_conf()")
        until("it receives nothing", lambda: self.sql("select count(*) from pg_stat_wal_receiver") == [["0"]])

    def promote(self):
        assert self.sql("select pg_promote()") == [["t"]]
        return self


def wait_for_standby(primary, name="standby"):
    """From here on every commit of the primary waits for it."""
    primary.sql(f"alter system set synchronous_standby_names = '{name}'")
    primary.sql("select pg_reload_conf()")
    until("it is synchronous", lambda: primary.sql("select sync_state from pg_stat_replication") == [["sync"]])
