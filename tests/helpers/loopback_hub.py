"""A Hugging Face Hub on this machine, for tests: what the real client needs to create, upload, load, tag, propose.

Repositories are kept in memory as commits (file name -> bytes) under branches, tags and pull requests. Faults can be
injected: see `Fault`.
"""

import base64
import dataclasses
import hashlib
import json
import re
import socket
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml

LFS = (".safetensors", ".bin")


@dataclasses.dataclass
class Fault:
    """For the next `times` requests of this method whose path matches: a status (500, 403), or no answer at all.

    `drop` closes the connection before the request is carried out, `lose` after it.
    """

    method: str
    path: str
    what: int | str
    times: int = 1


@dataclasses.dataclass
class Repository:
    private: bool
    commits: dict = dataclasses.field(default_factory=dict)  # hash -> {file name: bytes}
    refs: dict = dataclasses.field(default_factory=dict)  # full name of a reference -> hash
    messages: list = dataclasses.field(default_factory=list)

    def files(self, revision="main"):
        return self.commits[self.find(revision)]

    def find(self, revision):
        names = (revision, f"refs/heads/{revision}", f"refs/tags/{revision}")
        return next((self.refs[name] for name in names if name in self.refs), revision)

    def commit(self, reference, files, message):
        content = json.dumps(
            [message, len(self.commits), sorted((name, oid(name, data)) for name, data in files.items())]
        )
        commit = hashlib.sha1(content.encode()).hexdigest()
        self.commits[commit] = files
        self.refs[reference] = commit
        self.messages.append(message)
        return commit


def oid(name, data):
    """The content's hash, as git or git-lfs counts it."""
    if name.endswith(LFS):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class LoopbackHub:
    """`with LoopbackHub() as hub`: has `url` (the HF_ENDPOINT), `repositories`, `faults`, `requests`, `uploads`."""

    tokens = {
        "hf_alice": ("alice", "write"),
        "hf_reader": ("alice", "read"),
        "hf_fine": ("alice", "fineGrained"),  # and may not write
        "hf_bob": ("bob", "write"),
    }

    def __init__(self):
        self.repositories, self.faults, self.requests, self.uploads = {}, [], [], {}
        hub = self
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def environment(self, home, token=None):
        """For a process that is to talk to this hub alone."""
        environment = {"HF_ENDPOINT": self.url, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "HF_HOME": str(home)}
        return environment | ({"HF_TOKEN": token} if token else {})


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _handle(self):
        url = urllib.parse.urlsplit(self.path)
        path, self.query = urllib.parse.unquote(url.path), dict(urllib.parse.parse_qsl(url.query))
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self._chunks() if self.headers.get("Transfer-Encoding") == "chunked" else self.rfile.read(length)
        self.hub.requests.append(f"{self.command} {path}")
        fault = next(
            (f for f in self.hub.faults if f.times and f.method == self.command and re.search(f.path, path)), None
        )
        if fault is not None:
            fault.times -= 1
            if fault.what == "drop":
                return self._hang_up()
            if fault.what != "lose":
                return self._answer(fault.what, {"error": "injected"})
            self._answer = self._hang_up
        bearer = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if bearer and bearer not in self.hub.tokens:
            return self._answer(
                401, {"error": "no such token"}, {"X-Error-Message": "Invalid credentials in Authorization header"}
            )
        self.user, self.role = self.hub.tokens.get(bearer, (None, None))
        for method, pattern, function in ROUTES:
            if method == self.command and (match := re.fullmatch(pattern, path)):
                return function(self, **match.groupdict())
        return self._answer(404, {"error": f"no route for {self.command} {path}"})

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _handle

    def _chunks(self):
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _hang_up(self, *_):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, status, body=None, headers=None):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _missing(self, code):
        self._answer(404, {"error": code}, {"X-Error-Code": code, "X-Error-Message": code})

    def _repository(self, repo, write=False):
        """The repository if it may be seen (and written); else the answer is given already."""
        repository = self.hub.repositories.get(repo)
        if repository is None or (repository.private and self.user != repo.split("/")[0]):
            status = 404 if self.user else 401
            self._answer(status, {"error": "not found"}, {"X-Error-Code": "RepoNotFound"})
            return None
        if write and (self.user is None or self.role != "write" or self.user != repo.split("/")[0]):
            self._answer(403, {"error": "no rights"})
            return None
        return repository

    # ---------------------------------------------------------------------------------------------------- the routes

    def whoami(self):
        if self.user is None:
            return self._answer(401, {"error": "no token"})
        token = {"displayName": "test", "role": self.role}
        return self._answer(200, {"type": "user", "name": self.user, "orgs": [], "auth": {"accessToken": token}})

    def validate(self):
        parts = json.loads(self.body)["content"].split("---\n")
        metadata = yaml.safe_load(parts[1]) if len(parts) > 2 else {}
        license = metadata.get("license", "mit")
        known = isinstance(license, str) and re.fullmatch("[a-z0-9.-]+", license)
        errors = [] if known else [{"message": '"license" is not a known licence'}]
        self._answer(400 if errors else 200, {"errors": errors, "warnings": []})

    def create(self):
        wanted = json.loads(self.body)
        owner = wanted.get("organization") or self.user
        repo = f"{owner}/{wanted['name']}"
        if owner != self.user or self.role != "write":
            return self._answer(403, {"error": "no rights"})
        if repo in self.hub.repositories:
            return self._answer(409, {"error": "exists", "url": f"{self.hub.url}/{repo}"})
        private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        repository = self.hub.repositories[repo] = Repository(private)
        repository.commit("refs/heads/main", {".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")
        self._answer(200, {"url": f"{self.hub.url}/{repo}", "name": repo, "id": repo})

    def info(self, repo, revision="main"):
        if repository := self._repository(repo):
            commit = repository.find(revision)
            if commit not in repository.commits:
                return self._missing("RevisionNotFound")
            siblings = [{"rfilename": name} for name in sorted(repository.commits[commit])]
            facts = {"id": repo, "modelId": repo, "private": repository.private, "sha": commit, "siblings": siblings}
            self._answer(200, facts | {"tags": [], "downloads": 0, "likes": 0, "author": repo.split("/")[0]})

    def refs(self, repo):
        if repository := self._repository(repo):
            answer = {"branches": [], "tags": [], "converts": [], "pullRequests": []}
            kinds = {"refs/heads/": "branches", "refs/tags/": "tags", "refs/pr/": "pullRequests"}
            for reference, commit in repository.refs.items():
                start = next(start for start in kinds if reference.startswith(start))
                name = reference.removeprefix(start)
                answer[kinds[start]].append({"name": name, "ref": reference, "targetCommit": commit})
            self._answer(200, answer)

    def tree(self, repo, revision, path=""):
        if repository := self._repository(repo):
            if (commit := repository.find(revision)) not in repository.commits:
                return self._missing("RevisionNotFound")
            files = repository.commits[commit].items()
            self._answer(200, [self._entry(name, data) for name, data in files if name.startswith(path)])

    def paths(self, repo, revision):
        if repository := self._repository(repo):
            wanted = (
                json.loads(self.body)["paths"]
                if self.body[:1] == b"{"
                else urllib.parse.parse_qs(self.body.decode())["paths"]
            )
            files = repository.files(revision)
            self._answer(200, [self._entry(name, files[name]) for name in wanted if name in files])

    @staticmethod
    def _entry(name, data):
        entry = {"type": "file", "path": name, "size": len(data), "oid": oid("", data)}
        if name.endswith(LFS):
            entry["lfs"] = {"oid": oid(name, data), "size": len(data), "pointerSize": 130}
        return entry

    def preupload(self, repo, revision):
        if repository := self._repository(repo, write=not self.query.get("create_pr")):
            if (commit := repository.find(revision)) not in repository.commits:
                return self._missing("RevisionNotFound")
            there, answers = repository.commits[commit], []
            for file in json.loads(self.body)["files"]:
                name = file["path"]
                answer = {"path": name, "uploadMode": "lfs" if name.endswith(LFS) else "regular", "shouldIgnore": False}
                answers.append(answer | {"oid": oid(name, there[name]) if name in there else None})
            self._answer(200, {"files": answers})

    def lfs_batch(self, repo):
        objects = []
        for each in json.loads(self.body)["objects"]:
            entry = {"oid": each["oid"], "size": each["size"]}
            if each["oid"] not in self.hub.uploads:
                upload = {"href": f"{self.hub.url}/lfs/{each['oid']}", "header": {}}
                entry["actions"] = {"upload": upload, "verify": {"href": f"{self.hub.url}/verify", "header": {}}}
            objects.append(entry)
        self._answer(200, {"transfer": "basic", "objects": objects})

    def lfs_put(self, sha256):
        if hashlib.sha256(self.body).hexdigest() != sha256:
            return self._answer(400, {"error": "hash"})
        self.hub.uploads[sha256] = self.body
        return self._answer(200, {})

    def verify(self):
        self._answer(200 if json.loads(self.body)["oid"] in self.hub.uploads else 404, {})

    def commit(self, repo, revision):
        is_pr = bool(self.query.get("create_pr"))
        if not (repository := self._repository(repo, write=not is_pr)):
            return
        lines = [json.loads(line) for line in self.body.splitlines()]
        header, head = lines[0]["value"], repository.find(revision)
        if head not in repository.commits:
            return self._missing("RevisionNotFound")
        if header.get("parentCommit") not in (None, head):
            return self._answer(412, {"error": "the branch has moved"})
        files = dict(repository.commits[head])
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.uploads[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        number = 1 + sum(reference.startswith("refs/pr/") for reference in repository.refs)
        reference = f"refs/pr/{number}" if is_pr else f"refs/heads/{revision}"
        commit = repository.commit(reference, files, header["summary"])
        answer = {"success": True, "commitOid": commit, "commitUrl": f"{self.hub.url}/{repo}/commit/{commit}"}
        if is_pr:
            answer["pullRequestUrl"] = f"{self.hub.url}/{repo}/discussions/{number}"
        self._answer(200, answer)

    def tag(self, repo, revision):
        if repository := self._repository(repo, write=True):
            name = f"refs/tags/{json.loads(self.body)['tag']}"
            if name in repository.refs:
                return self._answer(409, {"error": "exists"})
            repository.refs[name] = repository.find(revision)
            self._answer(200, {})

    def branch(self, repo, name):
        if repository := self._repository(repo, write=True):
            start = json.loads(self.body or b"{}").get("startingPoint") or "main"
            repository.refs[f"refs/heads/{name}"] = repository.find(start)
            self._answer(200, {})

    def resolve(self, repo, revision, name):
        if repository := self._repository(repo):
            if (commit := repository.find(revision)) not in repository.commits:
                return self._missing("RevisionNotFound")
            if (data := repository.commits[commit].get(name)) is None:
                code = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
                return self._answer(404, {"error": "EntryNotFound"}, code)
            self._answer(200, data, {"ETag": f'"{oid(name, data)}"', "X-Repo-Commit": commit, "Accept-Ranges": "none"})


REPO, REVISION = r"/api/models/(?P<repo>[^/]+/[^/]+)", r"(?P<revision>refs/pr/\d+|[^/]+)"
ROUTES = [
    ("GET", "/api/whoami-v2", _Handler.whoami),
    ("POST", "/api/validate-yaml", _Handler.validate),
    ("POST", "/api/repos/create", _Handler.create),
    ("GET", REPO, _Handler.info),
    ("GET", f"{REPO}/revision/{REVISION}", _Handler.info),
    ("GET", f"{REPO}/refs", _Handler.refs),
    ("GET", f"{REPO}/tree/{REVISION}/?(?P<path>.*)", _Handler.tree),
    ("POST", f"{REPO}/paths-info/{REVISION}", _Handler.paths),
    ("POST", f"{REPO}/preupload/{REVISION}", _Handler.preupload),
    ("POST", f"{REPO}/commit/{REVISION}", _Handler.commit),
    ("POST", f"{REPO}/tag/{REVISION}", _Handler.tag),
    ("POST", f"{REPO}/branch/(?P<name>.+)", _Handler.branch),
    ("POST", r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch", _Handler.lfs_batch),
    ("PUT", r"/lfs/(?P<sha256>\w+)", _Handler.lfs_put),
    ("POST", "/verify", _Handler.verify),
    ("GET", rf"/(?P<repo>[^/]+/[^/]+)/resolve/{REVISION}/(?P<name>.+)", _Handler.resolve),
    ("HEAD", rf"/(?P<repo>[^/]+/[^/]+)/resolve/{REVISION}/(?P<name>.+)", _Handler.resolve),
]
