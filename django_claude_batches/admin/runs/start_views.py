"""Jobs of the project: a page that lists them, and one that shows what a run would send before it is started."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _

from django_claude_batches import services, tasks
from django_claude_batches.admin.base.permissions import APP, MayActOnRunsMixin
from django_claude_batches.admin.pages.read_only import MirrorAdminMixin
from django_claude_batches.admin.runs.job_list import job_list, visible_jobs
from django_claude_batches.admin.runs.preview import Look, look
from django_claude_batches.admin.runs.start_form import StartForm
from django_claude_batches.conf import ConfigurationError
from django_claude_batches.exceptions import AlreadyRunning, UnknownJob
from django_claude_batches.models import BatchRequest, JobRun

JOBS, START = f"{APP}_jobrun_jobs", f"{APP}_jobrun_start"


class JobsAdminMixin(MayActOnRunsMixin, MirrorAdminMixin):
    """The views that list jobs and start them."""

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        return [
            path("jobs/", wrap(self.jobs_view), name=JOBS),
            path("jobs/<slug:name>/start/", wrap(self.start_view), name=START),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        links = [] if self.has_add_permission(request) else [(_("Jobs"), self._url(JOBS))]
        return super().changelist_view(request, {"dcb_links": links, **(extra_context or {})})

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may start a job: Django's index shows this as *Add*."""
        return self.has_start_permission(request)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Redirect to the list of jobs, where a run is started."""
        return HttpResponseRedirect(self._url(JOBS))

    def jobs_view(self, request: HttpRequest) -> HttpResponse:
        """List the jobs that are registered in this process."""
        may_start = self.has_start_permission(request)
        may_view = self.has_view_or_change_permission(request)
        if not may_start and not may_view:
            raise PermissionDenied
        listed = job_list(self.viewer(request))
        jobs = [(job, self._url(START, job.name), self._run_url(request, job.last)) for job in listed]
        context = {"title": _("Jobs"), "jobs": jobs, "may_start": may_start, "may_view": may_view}
        return self.render_page(request, "jobrun/jobs.html", context)

    def start_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Show what a run of the job would send; start it when the person has seen that and confirms."""
        if not self.has_start_permission(request):
            raise PermissionDenied
        if name not in visible_jobs(self.viewer(request)):
            raise Http404
        form = StartForm(name, request.POST) if "_start" in request.POST else None
        if form is not None and form.is_valid():
            return self._start(request, name, form.cleaned_data["label"])
        if form is not None and form.seen is None:
            self.message_user(request, _("Nothing was started: look again at what would be sent."), messages.WARNING)
        if form is None or form.seen is None:
            found = look(name)
            form = StartForm(name, seen=found.seen)
        else:
            found = Look.of(form.seen)
        samples = found.samples if self.viewer(request).may_view(BatchRequest) else []
        context = {"title": _("Start %(job)s") % {"job": name}, "look": found, "form": form, "samples": samples}
        context["problem"] = self.visible(request, found.problem)
        return self.render_page(request, "jobrun/start.html", context)

    def _start(self, request: HttpRequest, name: str, label: str) -> HttpResponse:
        try:
            run = services.start_job(name, label=label, by=request.user)
        except AlreadyRunning as error:
            # The job may have moved to another account since it was started.
            is_visible = error.run is None or self.viewer(request).sees(error.run.account)
            text = error if is_visible else _("The job is running already.")
            self._say(request, text, error.run if is_visible else None)
            return HttpResponseRedirect(self._url(JOBS))
        except (UnknownJob, ConfigurationError) as error:
            self._say(request, error, None)
            return HttpResponseRedirect(self._url(JOBS))
        tasks.kick()
        self.log_addition(request, run, _("Started."))
        text = _("Run %(run)s is started: its rows are drafted and sent, and the answers are delivered to the job.")
        self.message_user(request, text % {"run": run}, messages.SUCCESS)
        url = self._run_url(request, run) or self._url(JOBS)
        return HttpResponseRedirect(url)

    def _say(self, request: HttpRequest, error: Exception | str, run: JobRun | None) -> None:
        url = self._run_url(request, run)
        link = format_html(' <a href="{}">{}</a>', url, _("Show it")) if url else ""
        self.message_user(request, format_html("{}{}", str(error), link), messages.ERROR)

    def _run_url(self, request: HttpRequest, run: JobRun | None) -> str:
        return "" if run is None else self.viewer(request).row_url(JobRun, run.pk)

    def _url(self, name: str, *args: Any) -> str:
        return reverse(f"admin:{name}", args=args, current_app=self.admin_site.name)
