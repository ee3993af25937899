"""The trading runtime's environment, and the contradictions that stop it before it starts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, SecretStr

from torghut_core.errors import ConfigurationError
from torghut_core.feeds import FEEDS
from torghut_core.market_calendar import CalendarName
from torghut_core.settings import Settings, load
from torghut_core.trading.model import is_symbol
from torghut_core.trading.money.fees import SEC_RATE, TAF_CAP, TAF_PER_SHARE, FeeRates
from torghut_core.trading.review.policy import FailMode, ReviewSwitches, RolloutStage, resolve_policy

LIVE_BROKER_HOST = "api.alpaca.markets"
PAPER_BROKER_URL = "https://paper-api.alpaca.markets"
DATA_URL = "https://data.alpaca.markets"

_STAGE = re.compile(r"(stage[0-3])(_[a-z_]+)?")
"""A stage, or its long name, as `stage3_controlled_live`: the number decides."""


def _symbols(value: object) -> object:
    if isinstance(value, str):
        return tuple(dict.fromkeys(part.strip().upper() for part in value.split(",") if part.strip()))
    return value


def _base_url(value: object) -> object:
    if isinstance(value, str):
        trimmed = value.rstrip("/").removesuffix("/v2").rstrip("/")
        parts = urlsplit(trimmed)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an http(s) address")
        if parts.username or parts.password:
            raise ValueError("must not carry user information; keys have their own variables")
        return trimmed
    return value


def _stage(value: object) -> object:
    found = _STAGE.fullmatch(value.lower()) if isinstance(value, str) else None
    return value if found is None else found[1]


def _checked_symbols(value: tuple[str, ...]) -> tuple[str, ...]:
    for symbol in value:
        if not is_symbol(symbol):
            raise ValueError("must be symbols of 1 to 32 letters, digits, dots, dashes, colons, underscores or slashes")
    return value


Symbols = Annotated[tuple[str, ...], BeforeValidator(_symbols), AfterValidator(_checked_symbols)]
BaseUrl = Annotated[str, BeforeValidator(_base_url)]
Money = Annotated[Decimal, Field(gt=0)]
Fraction = Annotated[Decimal, Field(gt=0, le=1)]
Seconds = Annotated[float, Field(gt=0)]
Rate = Annotated[Decimal, Field(ge=0, lt=1)]


_NS_PER_MINUTE = 60_000_000_000


class TradingSettings(Settings):
    """Everything the trading runtime reads from its environment, once, at start."""

    families = ("TRADING_", "LLM_", "APCA_")
    hidden = frozenset({"live_account"})

    app_env: Literal["dev", "stage", "prod"] = Field("dev", alias="APP_ENV")
    """What the deployment calls itself; shown, and judged by nothing."""
    version: str = Field("dev", alias="TORGHUT_VERSION")
    """Version of the image, shown in the status."""
    commit: str = Field("unknown", alias="TORGHUT_COMMIT")
    """Commit of the image, shown in the status."""
    clock: str = Field("system", alias="TORGHUT_CLOCK")
    """`system`, or `file:PATH` for a simulated market's clock, which its simulator writes."""
    market_calendar: CalendarName = Field("XNYS", alias="TORGHUT_MARKET_CALENDAR")
    """Whose sessions count: `XNYS`, the New York exchange's, or `always-open` for a market that never closes."""
    role: Literal["all", "api", "scheduler"] = Field("all", alias="TORGHUT_PROCESS_ROLE")
    """`all` trades and answers, `scheduler` trades and answers for itself, `api` only answers, from PostgreSQL."""
    revision_set: str | None = Field(
        None, max_length=253, validation_alias=AliasChoices("K_REVISION", "TORGHUT_REVISION")
    )
    """Which deployment this process belongs to: only one first seen after a stop may lift it."""
    kubernetes_host: str | None = Field(None, alias="KUBERNETES_SERVICE_HOST")
    """Set by every cluster in every pod: there, a process without a revision lifts nothing."""
    http_port: int = Field(8181, ge=0, le=65535, alias="TRADING_HTTP_PORT")
    """Where API, health and metrics are served; 0 takes a free one."""
    http_host: str = Field("0.0.0.0", alias="TRADING_HTTP_HOST")  # noqa: S104  the pod's own network
    """The address that API, health and metrics are served on."""

    db_dsn: SecretStr | None = Field(None, validation_alias=AliasChoices("DB_DSN", "DB_URL", "DATABASE_URL"))
    """PostgreSQL of the audit, or `embedded:DIR`; the first of the names that is set wins."""
    clickhouse_url: SecretStr | None = Field(None, alias="TA_CLICKHOUSE_URL")
    """The TA store: server, or `embedded:DIR`."""
    clickhouse_username: str = Field("default", alias="TA_CLICKHOUSE_USERNAME")
    """User of ClickHouse; an embedded engine has none."""
    clickhouse_password: SecretStr | None = Field(None, alias="TA_CLICKHOUSE_PASSWORD")
    """Password of TA_CLICKHOUSE_USERNAME."""
    clickhouse_timeout_seconds: Seconds = Field(
        5.0, validation_alias=AliasChoices("TA_CLICKHOUSE_CONN_TIMEOUT_SECONDS", "CLICKHOUSE_TIMEOUT_SECONDS")
    )
    """How long ClickHouse may take over one request."""

    broker_key: SecretStr | None = Field(None, alias="APCA_API_KEY_ID")
    """Key of the broker's account; unset, nothing is sent anywhere."""
    broker_secret: SecretStr | None = Field(None, alias="APCA_API_SECRET_KEY")
    """Secret of APCA_API_KEY_ID."""
    broker_url: BaseUrl = Field(PAPER_BROKER_URL, alias="APCA_API_BASE_URL")
    """Address of the broker. The live host is one of live trading's gates."""
    broker_timeout_seconds: float = Field(10.0, gt=0, le=20, alias="TRADING_BROKER_TIMEOUT_SECONDS")
    """Whole-call deadline of each broker call; well under the 60 s after which an absent order may be given up."""
    broker_requests_per_minute: int = Field(200, ge=10, alias="TRADING_BROKER_REQUESTS_PER_MINUTE")
    """What the broker allows; questions wait first, so that orders and cancellations find room."""
    trade_updates_enabled: bool = Field(True, alias="TRADING_TRADE_UPDATES_ENABLED")
    """Whether order events are also taken from the broker's stream; polling goes on either way."""
    webhook_url: BaseUrl | None = Field(None, alias="TRADING_WEBHOOK_URL")
    """Where alerts are posted; unset, they are kept in PostgreSQL and posted nowhere."""
    webhook_secret: SecretStr | None = Field(None, alias="TRADING_WEBHOOK_SECRET")
    """Key of the alerts' HMAC-SHA-256 signature."""
    webhook_timeout_seconds: Seconds = Field(5, alias="TRADING_WEBHOOK_TIMEOUT_SECONDS")
    """How long the receiver may take over one alert."""

    enabled: bool = Field(False, alias="TRADING_ENABLED")
    """Whether entries and exits may be sent at all; off is a recorded stop."""
    mode: Literal["paper", "live", "dry-run"] = Field("paper", alias="TRADING_MODE")
    """`dry-run`: orders are recorded, and filled in this process by the simulator's rules; nothing is sent anywhere."""
    dry_run_cash: Money = Field(Decimal(100_000), alias="TRADING_DRY_RUN_CASH")
    """Dollars that the account of a dry run begins with."""
    live_enabled: bool = Field(False, alias="TRADING_LIVE_ENABLED")
    """One of live trading's gates: with TRADING_MODE=live and without this, the start is refused."""
    live_account: str | None = Field(None, alias="TRADING_LIVE_ACCOUNT")
    """One of live trading's gates: the number of the account that the broker must answer with."""
    kill_switch_enabled: bool = Field(True, alias="TRADING_KILL_SWITCH_ENABLED")
    """On: no order is sent and open ones are cancelled. On is the default."""
    account_label_set: str | None = Field(None, max_length=64, alias="TRADING_ACCOUNT_LABEL")
    """The account's name in PostgreSQL and in every order's key; unset, TRADING_MODE."""

    feed: Literal["iex", "sip", "delayed_sip", "overnight"] = Field("iex", alias="ALPACA_FEED")
    """The forwarder's feed: what is late by design (delayed_sip, 15 minutes) has its age counted from that delay."""
    signal_table: str = Field("torghut.ta_signals", pattern=r"^\w+\.\w+$", alias="TRADING_SIGNAL_TABLE")
    """Where signals are read."""
    signal_batch_size: int = Field(500, ge=1, le=50_000, alias="TRADING_SIGNAL_BATCH_SIZE")
    """Signals read at a time."""
    signal_lookback_minutes: float = Field(15, gt=0, alias="TRADING_SIGNAL_LOOKBACK_MINUTES")
    """How far back signals are looked for."""
    signal_max_staleness_ms: int = Field(120_000, ge=1, alias="TRADING_FEATURE_MAX_STALENESS_MS")
    """Age beyond which a signal opens nothing."""
    price_table: str = Field("torghut.ta_microbars", pattern=r"^\w+\.\w+$", alias="TRADING_PRICE_TABLE")
    """Where prices are read."""
    price_lookback_minutes: float = Field(5, gt=0, alias="TRADING_PRICE_LOOKBACK_MINUTES")
    """Age beyond which a bar is no price."""
    poll_ms: int = Field(5000, ge=10, alias="TRADING_POLL_MS")
    """The pause between two looks for signals."""
    reconcile_ms: int = Field(15_000, ge=10, alias="TRADING_RECONCILE_MS")
    """The pause between two readings of what became of open orders."""
    simulated_latency_ms: int = Field(2500, ge=0, le=600_000, alias="TRADING_SIMULATED_LATENCY_MS")
    """On a simulated clock, how long after its bar's end a row is acted on: what TA and transport take in real time."""
    planned_timeout_seconds: Seconds = Field(600, alias="TRADING_PLANNED_DECISION_TIMEOUT_SECONDS")
    """After how long a decision that was never sent is ended as expired."""

    strategy_path: str | None = Field(None, alias="TRADING_STRATEGY_CONFIG_PATH")
    """The strategy catalogue: a file, or `shipped:NAME` for one that ships; unset, the default one."""
    strategy_mode: Literal["merge", "sync"] = Field("merge", alias="TRADING_STRATEGY_CONFIG_MODE")
    """`merge`: strategies that the file does not name stay as they are; `sync`: they are disabled."""
    strategy_reload_seconds: Seconds = Field(10, alias="TRADING_STRATEGY_RELOAD_SECONDS")
    """How often the catalogue is looked at."""
    strategy_deadline_seconds: float = Field(2.0, gt=0, le=5, alias="TRADING_STRATEGY_DEADLINE_SECONDS")
    """How long a strategy from outside may think about one bar before its process is ended; well under the 15 s in which
    the loop must turn."""
    strategy_memory_mb: int = Field(2048, ge=512, le=1_048_576, alias="TRADING_STRATEGY_MEMORY_MB")
    """Mebibytes of addresses that the process of a strategy from outside may have: what asks for more fails there, and costs
    nobody else. Python and numpy take some hundred of them."""

    universe_source: Literal["static", "jangar"] | None = Field(None, alias="TRADING_UNIVERSE_SOURCE")
    """`static`: TRADING_STATIC_SYMBOLS; `jangar`: JANGAR_SYMBOLS_URL. Unset, whichever is set, the symbols first."""
    static_symbols: Symbols = Field((), alias="TRADING_STATIC_SYMBOLS")
    """Symbols that may be opened, by commas."""
    symbols_url: BaseUrl | None = Field(None, alias="JANGAR_SYMBOLS_URL")
    """Answers with the symbols that may be opened."""
    universe_cache_seconds: Seconds = Field(300, alias="TRADING_UNIVERSE_CACHE_SECONDS")
    """How long an answer of JANGAR_SYMBOLS_URL is used before it is asked again."""
    universe_timeout_seconds: Seconds = Field(5, alias="TRADING_UNIVERSE_TIMEOUT_SECONDS")
    """How long JANGAR_SYMBOLS_URL may take over an answer."""
    universe_max_stale_seconds: Seconds = Field(900, alias="TRADING_UNIVERSE_MAX_STALE_SECONDS")
    """Age of the last answer of JANGAR_SYMBOLS_URL beyond which nothing may be opened."""

    default_qty: int = Field(1, ge=1, alias="TRADING_DEFAULT_QTY")
    """Shares of an entry that no budget, share of equity or strategy sizes."""
    max_notional_per_trade: Money | None = Field(None, alias="TRADING_MAX_NOTIONAL_PER_TRADE")
    """Dollars of one entry at most."""
    max_position_pct_equity: Fraction | None = Field(None, alias="TRADING_MAX_POSITION_PCT_EQUITY")
    """Part of the equity that one symbol's holding may be: 0.1 is a tenth."""
    cooldown_seconds: float = Field(0, ge=0, alias="TRADING_COOLDOWN_SECONDS")
    """How long a strategy waits after its last order in a symbol before its next entry there."""
    allow_shorts: bool = Field(False, alias="TRADING_ALLOW_SHORTS")
    """Whether an entry may sell what is not held."""
    allow_margin: bool = Field(False, alias="TRADING_ALLOW_MARGIN")
    """Entries spend cash alone unless this is true."""
    fractional_enabled: bool = Field(False, alias="TRADING_FRACTIONAL_EQUITIES_ENABLED")
    """Whether entries may be parts of a share, where the broker allows it. Exits close what is held either way."""
    max_spread_bps: Decimal = Field(Decimal(100), gt=0, alias="TRADING_MAX_SPREAD_BPS")
    """Widest quote an entry is priced at, in hundredths of a percent of its middle."""
    flatten_minutes: float = Field(0, ge=0, le=390, alias="TRADING_FLATTEN_MINUTES_BEFORE_CLOSE")
    """Minutes before the regular close, half days included, at which the strategies' holdings are closed; 0 never."""
    max_daily_loss: Money | None = Field(None, alias="TRADING_MAX_DAILY_LOSS")
    """Loss against the day's first equity, dollars, that latches entries shut."""
    max_daily_loss_pct: Fraction | None = Field(None, alias="TRADING_MAX_DAILY_LOSS_PCT_EQUITY")
    """Loss against the day's first equity, as a part of it, that latches entries shut: 0.02 is two hundredths."""
    max_drawdown_pct: Fraction | None = Field(None, alias="TRADING_MAX_DRAWDOWN_PCT_EQUITY")
    """Loss against the best equity ever, as a part of it, that latches entries shut."""
    emergency_stop_enabled: bool = Field(True, alias="TRADING_EMERGENCY_STOP_ENABLED")
    """Whether entries rest while signals are too old."""
    emergency_recovery_cycles: int = Field(3, ge=1, alias="TRADING_EMERGENCY_STOP_RECOVERY_CYCLES")
    """Healthy cycles after which entries go on that rested for old signals."""
    emergency_lag_seconds: Seconds = Field(600, alias="TRADING_ROLLBACK_SIGNAL_LAG_SECONDS_LIMIT")
    """Age of the newest signal in an open market beyond which entries rest."""
    portfolio_notional_per_position: Money | None = Field(None, alias="TRADING_PORTFOLIO_NOTIONAL_PER_POSITION")
    """Dollars that an entry is sized to."""
    portfolio_volatility_target: Money | None = Field(None, alias="TRADING_PORTFOLIO_VOLATILITY_TARGET")
    """Entries are scaled by this over the signal's realized volatility, never past a cap."""
    portfolio_volatility_floor: Decimal = Field(Decimal(0), ge=0, alias="TRADING_PORTFOLIO_VOLATILITY_FLOOR")
    """The least volatility that entries are scaled by, where TRADING_PORTFOLIO_VOLATILITY_TARGET is set."""
    portfolio_max_positions: int | None = Field(None, ge=1, alias="TRADING_PORTFOLIO_MAX_POSITIONS")
    """Symbols held at a time at most."""
    portfolio_max_notional_per_symbol: Money | None = Field(None, alias="TRADING_PORTFOLIO_MAX_NOTIONAL_PER_SYMBOL")
    """Dollars held in one symbol at most."""
    portfolio_max_gross: Money | None = Field(None, alias="TRADING_PORTFOLIO_MAX_GROSS_EXPOSURE")
    """Dollars held at most, long and short together."""
    portfolio_max_net: Money | None = Field(None, alias="TRADING_PORTFOLIO_MAX_NET_EXPOSURE")
    """Dollars held at most, long less short, in either direction."""
    portfolio_max_gross_pct: Money | None = Field(None, alias="TRADING_PORTFOLIO_MAX_GROSS_EXPOSURE_PCT_EQUITY")
    """The gross limit as a part of the equity: 1.5 is one and a half times it."""
    portfolio_max_net_pct: Money | None = Field(None, alias="TRADING_PORTFOLIO_MAX_NET_EXPOSURE_PCT_EQUITY")
    """The net limit as a part of the equity."""

    fee_sec_rate: Rate = Field(SEC_RATE, alias="TRADING_FEE_SEC_RATE")
    """Dollars of fee for a dollar sold."""
    fee_taf_per_share: Rate = Field(TAF_PER_SHARE, alias="TRADING_FEE_TAF_PER_SHARE")
    """Dollars of fee for a share sold."""
    fee_taf_cap: Decimal = Field(TAF_CAP, ge=0, alias="TRADING_FEE_TAF_CAP")
    """Dollars of TRADING_FEE_TAF_PER_SHARE for one order at most."""
    commission_per_share: Rate = Field(Decimal(0), alias="TRADING_COMMISSION_PER_SHARE")
    """Dollars of commission for a share bought or sold."""

    leader_lock_name: str = Field("torghut:trading-scheduler", alias="TRADING_SCHEDULER_LEADERSHIP_LOCK_NAME")
    """Whoever holds the lock of this name in PostgreSQL trades; the others stand by."""
    leader_check_seconds: Seconds = Field(5, alias="TRADING_SCHEDULER_LEADERSHIP_CHECK_SECONDS")
    """How often the lock is asked for, or looked at."""
    migrate_server: bool = Field(False, alias="TRADING_MIGRATE_ON_START")
    """Whether an existing server's schema that is behind is migrated at start; empty and embedded ones always are."""
    drain_seconds: Seconds = Field(45, alias="TRADING_SCHEDULER_SHUTDOWN_DRAIN_SECONDS")
    """How long what is in flight may take when the process is told to end; nothing new is begun meanwhile."""
    success_max_age_seconds: Seconds = Field(30, alias="TRADING_SCHEDULER_SUCCESS_MAX_AGE_SECONDS")
    """Age of a loop's last success beyond which it is not well."""

    llm_enabled: bool = Field(False, alias="LLM_ENABLED")
    """Whether entries are shown to a model before they are sent. It may veto or bound them, and nothing else."""
    llm_shadow_mode: bool = Field(True, alias="LLM_SHADOW_MODE")
    """Whether the model's answer is only recorded."""
    llm_rollout_stage: Annotated[RolloutStage, BeforeValidator(_stage)] = Field("stage0", alias="LLM_ROLLOUT_STAGE")
    """How far the review's rollout is, `stage0` to `stage3`; decides the fail mode where LLM_FAIL_MODE_ENFORCEMENT is `configured`."""
    llm_fail_mode: FailMode = Field("veto", alias="LLM_FAIL_MODE")
    """What an entry does when no answer comes: `veto` ends it, `pass_through` lets it go on to the gates."""
    llm_fail_mode_enforcement: Literal["strict_veto", "configured"] = Field(
        "strict_veto", alias="LLM_FAIL_MODE_ENFORCEMENT"
    )
    """`strict_veto`: no answer is always a veto; `configured`: the stage or LLM_FAIL_MODE decides."""
    llm_fail_open_live_approved: bool = Field(False, alias="LLM_FAIL_OPEN_LIVE_APPROVED")
    """Needed for `pass_through` with live trading, or the start is refused."""
    llm_adjustment_allowed: bool = Field(False, alias="LLM_ADJUSTMENT_ALLOWED")
    """Whether the model's answer may lower an entry's quantity; off, such an answer ends the entry."""
    llm_min_confidence: float = Field(0.5, ge=0, le=1, alias="LLM_MIN_CONFIDENCE")
    """Confidence below which the model's answer ends the entry."""
    llm_min_qty_multiplier: float = Field(0.5, gt=0, le=1, alias="LLM_MIN_QTY_MULTIPLIER")
    """The least part of an entry's quantity that the model's answer may leave."""
    llm_max_qty_multiplier: float = Field(1.25, gt=0, alias="LLM_MAX_QTY_MULTIPLIER")
    """The largest part of it; above 1 it counts as 1, for no answer enlarges an entry."""
    llm_provider: Literal["jangar", "openai"] | None = Field(None, alias="LLM_PROVIDER")
    """`jangar`: JANGAR_BASE_URL, then the self-hosted one; `openai`: OPENAI_BASE_URL. Unset, jangar where it has an address."""
    llm_model: str = Field("gpt-5.3-codex", alias="LLM_MODEL")
    """Model asked for."""
    llm_prompt_version: str = Field("v1", alias="LLM_PROMPT_VERSION")
    """Name of the prompt, recorded with each review."""
    llm_temperature: float = Field(0.2, ge=0, le=2, alias="LLM_TEMPERATURE")
    """Passed to the model."""
    llm_max_tokens: int = Field(300, ge=1, alias="LLM_MAX_TOKENS")
    """Tokens of an answer at most."""
    llm_timeout_seconds: Seconds = Field(20, alias="LLM_TIMEOUT_SECONDS")
    """How long one review may take, all its attempts together."""
    llm_max_concurrent_reviews: int = Field(4, ge=1, le=64, alias="LLM_MAX_CONCURRENT_REVIEWS")
    """Reviews asked for at a time; entries beyond wait for a place, exits and other symbols for none."""
    llm_daily_token_budget: int | None = Field(None, ge=1, alias="LLM_DAILY_TOKEN_BUDGET")
    """Tokens of a New York day at most; beyond them entries go by the fail mode."""
    llm_daily_cost_budget: Money | None = Field(None, alias="LLM_DAILY_COST_BUDGET")
    """Dollars of a New York day at most; beyond them entries go by the fail mode."""
    llm_price_prompt: Decimal | None = Field(None, ge=0, alias="LLM_PRICE_PROMPT_PER_MILLION")
    """Dollars of a million tokens sent."""
    llm_price_completion: Decimal | None = Field(None, ge=0, alias="LLM_PRICE_COMPLETION_PER_MILLION")
    """Dollars of a million tokens answered."""
    llm_circuit_max_errors: int = Field(3, ge=1, alias="LLM_CIRCUIT_MAX_ERRORS")
    """Failed reviews within LLM_CIRCUIT_WINDOW_SECONDS after which none is asked for."""
    llm_circuit_window_seconds: Seconds = Field(300, alias="LLM_CIRCUIT_WINDOW_SECONDS")
    """The time in which LLM_CIRCUIT_MAX_ERRORS counts failed reviews."""
    llm_circuit_cooldown_seconds: Seconds = Field(600, alias="LLM_CIRCUIT_COOLDOWN_SECONDS")
    """How long no review is asked for after LLM_CIRCUIT_MAX_ERRORS."""
    jangar_url: BaseUrl | None = Field(None, alias="JANGAR_BASE_URL")
    """Address of the provider `jangar`."""
    jangar_key: SecretStr | None = Field(None, alias="JANGAR_API_KEY")
    """Key of JANGAR_BASE_URL."""
    openai_url: BaseUrl = Field("https://api.openai.com", alias="OPENAI_BASE_URL")
    """Address of the provider `openai`."""
    openai_key: SecretStr | None = Field(None, alias="OPENAI_API_KEY")
    """Key of OPENAI_BASE_URL."""
    self_hosted_url: BaseUrl | None = Field(None, alias="LLM_SELF_HOSTED_BASE_URL")
    """Address that is asked where `jangar` does not answer."""
    self_hosted_key: SecretStr | None = Field(None, alias="LLM_SELF_HOSTED_API_KEY")
    """Key of LLM_SELF_HOSTED_BASE_URL."""
    self_hosted_model: str | None = Field(None, alias="LLM_SELF_HOSTED_MODEL")
    """Model of LLM_SELF_HOSTED_BASE_URL; unset, LLM_MODEL."""

    @property
    def trades(self) -> bool:
        """Whether this process may hold the lock: every role but `api`."""
        return self.role != "api"

    @property
    def feed_delay_ns(self) -> int:
        """How late the feed is by design, in nanoseconds."""
        return FEEDS[self.feed].delay_seconds * 1_000_000_000

    @property
    def signal_lookback_ns(self) -> int:
        """How far back signals are looked at, in nanoseconds of their event time."""
        return int(self.signal_lookback_minutes * _NS_PER_MINUTE) + self.feed_delay_ns

    @property
    def price_lookback_ns(self) -> int:
        """How far back bars are looked at for a price, in nanoseconds of their event time."""
        return int(self.price_lookback_minutes * _NS_PER_MINUTE) + self.feed_delay_ns

    @property
    def account_label(self) -> str:
        """The account's name in PostgreSQL and in every intent's key."""
        return self.account_label_set or self.mode

    @property
    def is_live_broker(self) -> bool:
        """Whether the broker host is the one that moves real money; unknown hosts and loopback never are."""
        return is_live_host(self.broker_url)

    @property
    def effective_universe_source(self) -> Literal["static", "jangar"]:
        """The stated source, else static when symbols are given, else the URL when there is one."""
        if self.universe_source is not None:
            return self.universe_source
        return "jangar" if self.symbols_url is not None and not self.static_symbols else "static"

    @property
    def fee_rates(self) -> FeeRates:
        """What trades cost."""
        return FeeRates(
            sec_rate=self.fee_sec_rate,
            taf_per_share=self.fee_taf_per_share,
            taf_cap=self.fee_taf_cap,
            commission_per_share=self.commission_per_share,
        )

    @property
    def review_switches(self) -> ReviewSwitches:
        """The AI review's switches, as its policy judges them."""
        return ReviewSwitches(
            mode="live" if self.mode == "live" else "paper",
            enabled=self.llm_enabled,
            shadow_mode=self.llm_shadow_mode,
            adjustment_allowed=self.llm_adjustment_allowed,
            rollout_stage=self.llm_rollout_stage,
            fail_mode=self.llm_fail_mode,
            enforcement=self.llm_fail_mode_enforcement,
            live_approved=self.llm_fail_open_live_approved,
        )


def is_live_host(url: str) -> bool:
    """Tell whether `url` addresses the live broker, whatever its scheme, case or trailing dot."""
    return (urlsplit(url).hostname or "").rstrip(".") == LIVE_BROKER_HOST


def load_settings(environment: Mapping[str, str]) -> TradingSettings:
    """Return the settings in `environment`.

    Raises ConfigurationError naming each bad variable, or every contradiction between variables.
    """
    settings = load(TradingSettings, environment)
    found = contradictions(settings)
    if found:
        raise ConfigurationError("; ".join(found), hint="paper is the default: unset what you did not mean to set")
    return settings


def contradictions(settings: TradingSettings) -> tuple[str, ...]:
    """Return a sentence for each pair of variables that cannot both be meant; empty when there is none."""
    found = list(_live_contradictions(settings))
    if settings.effective_universe_source == "jangar" and settings.symbols_url is None:
        found.append("TRADING_UNIVERSE_SOURCE=jangar contradicts JANGAR_SYMBOLS_URL unset: the source has no address")
    if (settings.broker_key is None) != (settings.broker_secret is None):
        found.append("one of APCA_API_KEY_ID and APCA_API_SECRET_KEY is set without the other")
    if settings.llm_daily_cost_budget is not None and None in (
        settings.llm_price_prompt,
        settings.llm_price_completion,
    ):
        found.append(
            "LLM_DAILY_COST_BUDGET contradicts LLM_PRICE_PROMPT_PER_MILLION or LLM_PRICE_COMPLETION_PER_MILLION unset:"
            " without prices nothing costs anything"
        )
    if settings.llm_fail_mode_enforcement == "strict_veto" and settings.llm_fail_mode != "veto":
        found.append(
            f"LLM_FAIL_MODE_ENFORCEMENT=strict_veto contradicts LLM_FAIL_MODE={settings.llm_fail_mode}: strict always vetoes"
        )
    policy = resolve_policy(settings.review_switches)
    is_open_live = settings.mode == "live" and policy.effective_fail_mode == "pass_through"
    if is_open_live and not settings.llm_fail_open_live_approved:
        found.append(
            "TRADING_MODE=live with an effective LLM fail mode of pass_through contradicts"
            " LLM_FAIL_OPEN_LIVE_APPROVED=false: live may fail open only when approved"
        )
    return tuple(found)


def _live_contradictions(settings: TradingSettings) -> list[str]:
    found: list[str] = []
    if settings.mode != "live":
        mode = settings.mode
        if settings.live_enabled:
            found.append(f"TRADING_MODE={mode} contradicts TRADING_LIVE_ENABLED=true: {mode} never trades live")
        if settings.is_live_broker:
            found.append(f"TRADING_MODE={mode} contradicts APCA_API_BASE_URL: {LIVE_BROKER_HOST} is the live broker")
        return found
    if not settings.live_enabled:
        found.append("TRADING_MODE=live contradicts TRADING_LIVE_ENABLED=false: live needs both")
    if not settings.is_live_broker:
        found.append(f"TRADING_MODE=live contradicts APCA_API_BASE_URL: live needs https://{LIVE_BROKER_HOST}")
    elif urlsplit(settings.broker_url).scheme != "https":
        found.append("TRADING_MODE=live contradicts APCA_API_BASE_URL: live needs https")
    if settings.live_account is None:
        found.append("TRADING_MODE=live contradicts TRADING_LIVE_ACCOUNT unset: live names its one account")
    return found


def check_broker_account(settings: TradingSettings, account_number: str) -> None:
    """Raise ConfigurationError when the account the broker answered for contradicts mode and TRADING_LIVE_ACCOUNT.

    The numbers themselves stay out of the message.
    """
    is_the_live_one = settings.live_account is not None and account_number == settings.live_account
    if settings.mode == "live" and not is_the_live_one:
        raise ConfigurationError(
            "TRADING_LIVE_ACCOUNT contradicts the broker: these keys belong to another account",
            hint="set TRADING_LIVE_ACCOUNT to the account's number, or use its keys",
        )
    if settings.mode == "paper" and is_the_live_one:
        raise ConfigurationError("TRADING_MODE=paper contradicts the broker: these keys belong to TRADING_LIVE_ACCOUNT")
