"""
Real telephones, many in one process: baresip (the C program's own stack) driven from asyncio.

For interop tests and the demonstration; ``pip install .[demo]`` brings it. Never import this into the exchange's own process:
baresip wants an asyncio loop and allows one `RealPhones` a process.

Each call plays a tone without end and keeps the last seconds that it heard, so that `RealCall.heard` can say how much of a
frequency arrived. Video is a grey picture that changes; frames are counted after decoding.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pbx.testing.tone import ToneSource, level

if TYPE_CHECKING:
    import baresip

__all__ = ["RealCall", "RealPhone", "RealPhones"]

_TICK = 0.02  # seconds between two looks at a call's buffers
_AHEAD = 0.12  # seconds of tone kept in the transmit buffer
_KEPT = 5.0  # seconds of received sound kept
_VIDEO_SIZE = (320, 240)
_VIDEO_FPS = 15.0


class _Trace(logging.Handler):
    """Keeps the SIP messages that the stack logs."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.append(record.getMessage())


class RealPhones:
    """The stack of this process; phones are made with `phone`."""

    def __init__(self) -> None:
        self.messages: list[str] = []  # every SIP message of every phone, both ways, as the stack logs it
        self._runtime: baresip.Runtime | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._calls: list[RealCall] = []
        self._trace = _Trace(self.messages)

    async def start(self, address: str = "127.0.0.1") -> None:
        """
        Start the stack on ``address``, ports chosen by the system.

        Raises:
            ImportError: baresip-python is not installed; the text says which extra brings it.
        """
        try:
            import baresip
        except ImportError as error:
            raise ImportError(f"real phones need baresip-python: pip install '.[demo]' ({error})") from error
        logger = logging.getLogger("baresip.native.sip")
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        logger.addHandler(self._trace)
        self._runtime = baresip.Runtime()
        await self._runtime.start(
            baresip.Config(
                net_interface=address,
                max_concurrent_calls=None,
                sip_trace=True,
                video_size=_VIDEO_SIZE,
                video_fps=_VIDEO_FPS,
                video_bitrate=256_000,
                # Certificates are not looked at: exchanges under test sign their own.
                extra_config_text=f"sip_listen {address}:0\nsip_verify_server no\n",
            )
        )
        self._ticking = asyncio.get_running_loop().create_task(self._tick())

    async def close(self) -> None:
        """Stop the stack; calls that are still up end without ceremony."""
        if self._ticking is not None:
            self._ticking.cancel()
        if self._runtime is not None:
            await self._runtime.close()
        logging.getLogger("baresip.native.sip").removeHandler(self._trace)

    async def phone(
        self,
        user: str,
        server: str,
        password: str = "",
        *,
        transport: str = "udp",
        codecs: tuple[str, ...] = ("pcmu",),
        frequency_hz: float = 440.0,
        registers: bool = True,
        parameters: tuple[str, ...] = (),
    ) -> RealPhone:
        """A phone with the account ``user`` at ``server`` ("address:port") whose calls play ``frequency_hz``; not registered yet."""
        import baresip

        assert self._runtime is not None, "start() first"
        account = baresip.Account(
            user,
            server,
            password,
            transport=transport,  # type: ignore[arg-type]  # checked by baresip, with a sentence
            audio_codecs=tuple(codecs),
            reg_interval=60 if registers else 0,
            extra_params=tuple(parameters),
        )
        agent = await baresip.UserAgent.create(self._runtime, account)
        return RealPhone(self._runtime, agent, user, server, frequency_hz, self._calls)

    async def contact(self) -> str:
        """Where the stack listens, as "address:port", read from the traced messages' top Via; empty before the first request."""
        for text in self.messages:
            for line in text.splitlines():
                if line.startswith("Via: SIP/2.0/UDP "):
                    return line.split()[2].partition(";")[0]
        return ""

    async def traced(self, *words: str) -> list[str]:
        """The messages of the trace that contain all ``words``."""
        return [text for text in list(self.messages) if all(word in text for word in words)]

    async def _tick(self) -> None:
        while True:
            for call in list(self._calls):
                if call.ended is None:
                    call.tick()
                else:
                    self._calls.remove(call)
            await asyncio.sleep(_TICK)


class RealPhone:
    """One account on one phone."""

    def __init__(
        self, runtime: baresip.Runtime, agent: baresip.UserAgent, user: str, server: str, frequency_hz: float, calls: list[RealCall]
    ) -> None:
        self.user = user
        self._runtime = runtime
        self._agent = agent
        self._server = server
        self._frequency_hz = frequency_hz
        self._calls = calls
        self._ringing: asyncio.Queue[RealCall] = asyncio.Queue()
        agent.on_incoming(self._rings)

    def _rings(self, call: baresip.Call, *_: object) -> None:
        self._ringing.put_nowait(self._adopted(call))

    def _adopted(self, call: baresip.Call) -> RealCall:
        real = RealCall(call, self._frequency_hz)
        self._calls.append(real)
        return real

    async def register(self) -> None:
        """Register; raises baresip's RegistrationError with the status otherwise."""
        await self._agent.register()

    async def unregister(self) -> None:
        """Take the binding back."""
        await self._agent.unregister()

    async def dial(self, number: str, *, video: bool = False, headers: dict[str, str] | None = None) -> RealCall:
        """Send the INVITE for ``number`` (a number of the server, or a whole SIP URI); await `RealCall.established` afterwards."""
        uri = number if ":" in number else f"sip:{number}@{self._server}"
        early: list[baresip.StackEvent] = []
        hear = early.append
        self._runtime.subscribe(hear)
        try:
            call = await self._agent.dial(uri, headers=headers, video=video)
        finally:
            self._runtime.unsubscribe(hear)
        dialled = self._adopted(call)
        for event in early:
            # What came before the library had made its call went past it: on a busy machine a refusal is that quick.
            call._on_stack_event(event)  # it has no other door; events of other calls it leaves alone
        return dialled

    async def next_call(self, patience: float = 5.0) -> RealCall:
        """The next call that rings here; raises asyncio.TimeoutError when none comes in ``patience`` seconds."""
        return await asyncio.wait_for(self._ringing.get(), patience)


class RealCall:
    """One call at one phone."""

    def __init__(self, call: baresip.Call, frequency_hz: float) -> None:
        self.ended: str | None = None  # the reason, once it has ended
        self._call = call
        self._digits = ""
        self._tone = ToneSource(frequency_hz)
        self._heard = bytearray()
        self._rate_hz, self._channels = 8000, 1
        self._video = False
        self._next_picture = 0.0
        self._pictures = 0
        self._frames_received = 0
        self._closed = asyncio.Event()
        call.on(self._event)
        call.on_dtmf(self._digit)

    def _event(self, event: Any) -> None:
        if event.event.name == "CALL_CLOSED":
            self.ended = event.text or ""
            self._closed.set()

    def _digit(self, event: baresip.DigitEvent) -> None:
        self._digits += event.digit

    async def answer(self, *, video: bool = False) -> None:
        """Accept the call and wait until it is up."""
        self._video = video
        await self._call.answer(video=video)
        await self._call.wait_established(10.0)

    async def reject(self) -> None:
        """Answer 486 Busy Here."""
        await self._call.reject()

    async def established(self, patience: float = 10.0, *, video: bool = False) -> None:
        """Wait for the answer; raises baresip's CallFailed with the status when there is another end."""
        self._video = video
        await self._call.wait_established(patience)

    async def hang_up(self) -> None:
        """End the call (CANCEL before the answer, BYE after)."""
        await self._call.hangup()

    async def hold(self) -> None:
        """Put the other side on hold; waits while another re-INVITE is in flight."""
        await self._patiently(self._call.hold)

    async def resume(self) -> None:
        """Take it off hold."""
        await self._patiently(self._call.resume)

    async def _patiently(self, action: Any) -> None:
        import baresip

        for _ in range(100):
            try:
                await action()
            except baresip.BaresipError as error:
                if "in flight" not in str(error):
                    raise
                await asyncio.sleep(0.05)
            else:
                return
        raise TimeoutError("another session refresh was in flight for 5 s")

    async def transfer(self, uri: str) -> None:
        """Blind transfer of the other side to ``uri``; waits for what comes of it, and raises baresip's TransferFailed."""
        await self._call.transfer(uri)

    async def transfer_to(self, other: RealCall) -> None:
        """Attended transfer: join the other side to that of ``other``, a call of the same phone; as `transfer`."""
        await self._call.attended_transfer(other._call)

    async def send_digits(self, digits: str) -> None:
        """Press keys, 100 ms each."""
        await self._call.send_dtmf(digits)

    async def digits(self) -> str:
        """The keys that the other side has pressed so far."""
        return self._digits

    async def held(self) -> bool:
        """Whether the other side holds this one."""
        return bool(self._call.remote_on_hold)

    async def closed(self, patience: float = 5.0) -> str:
        """Wait for the end and return its reason in baresip's words: "486 Busy Here", or "Connection reset by peer" for a BYE."""
        await asyncio.wait_for(self._closed.wait(), patience)
        return self.ended or ""

    async def call_id(self) -> str:
        """Call-ID of this leg."""
        return self._call.call_id or ""

    async def forget(self) -> None:
        """Throw away what was heard until now."""
        self._heard.clear()

    async def heard(self, frequency_hz: float, seconds: float = 1.0) -> float:
        """The amplitude of ``frequency_hz`` (9000 is all of it) over the last ``seconds`` heard; silence counts as 0."""
        wanted = int(seconds * self._rate_hz) * 2 * self._channels
        recent = bytes(self._heard[-wanted:])
        return level(recent + bytes(wanted - len(recent)), frequency_hz, self._rate_hz, self._channels)

    async def frames(self) -> int:
        """Video frames received and decoded so far."""
        return self._frames_received

    async def stats(self) -> dict[str, Any]:
        """Packets, losses and jitter, complete once the call has ended; empty before."""
        final = self._call.final_stats
        return {} if final is None else asdict(final)

    def tick(self) -> None:
        """Feed and empty the buffers of a call that is up; called 50 times a second."""
        import baresip

        if self._call.state is not baresip.CallState.ESTABLISHED:
            return
        # Between two descriptions there is no stream: the next tick finds the new one.
        with contextlib.suppress(baresip.AudioNotActive, baresip.AudioRestarted):
            self._sound()
        if not self._video:
            return
        with contextlib.suppress(baresip.VideoNotActive, baresip.VideoRestarted):
            self._picture()

    def _sound(self) -> None:
        audio = self._call.audio
        info = audio.info()
        if info.tx_ready:
            frame = 2 * info.tx_channels
            missing = int(_AHEAD * info.tx_sample_rate) - info.tx_buffered // frame
            if missing > 0:
                audio.write(self._tone.pcm(missing, info.tx_sample_rate, info.tx_channels))
        if info.rx_ready:
            self._rate_hz, self._channels = info.rx_sample_rate, info.rx_channels
            self._heard += audio.read(1 << 16)
            excess = len(self._heard) - int(_KEPT * self._rate_hz) * 2 * self._channels
            if excess > 0:
                del self._heard[:excess]

    def _picture(self) -> None:
        video = self._call.video
        if video.info().tx_ready:
            now = asyncio.get_running_loop().time()
            if now >= self._next_picture:
                self._next_picture = now + 1.0 / _VIDEO_FPS
                self._pictures += 1
                width, height = _VIDEO_SIZE
                video.write_frame(bytes([self._pictures * 8 % 256]) * (width * height) + b"\x80" * (width * height // 2))
        while video.read_frame() is not None:
            self._frames_received += 1
