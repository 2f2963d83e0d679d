#include "cache/shared/libpq.h"

#include <dlfcn.h>

#include <algorithm>
#include <type_traits>
#include <utility>

namespace sallyport {

namespace {

Libpq load() {
  Libpq functions;
  void* library = ::dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return functions;
  functions.loaded = true;
  const auto find = [&](const char* name, auto& function) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, name));
    functions.loaded = functions.loaded && function != nullptr;
  };
  find("PQclear", functions.PQclear);
  find("PQcmdTuples", functions.PQcmdTuples);
  find("PQconnectPoll", functions.PQconnectPoll);
  find("PQconnectStartParams", functions.PQconnectStartParams);
  find("PQconninfoFree", functions.PQconninfoFree);
  find("PQconninfoParse", functions.PQconninfoParse);
  find("PQconsumeInput", functions.PQconsumeInput);
  find("PQenterPipelineMode", functions.PQenterPipelineMode);
  find("PQerrorMessage", functions.PQerrorMessage);
  find("PQexitPipelineMode", functions.PQexitPipelineMode);
  find("PQfinish", functions.PQfinish);
  find("PQflush", functions.PQflush);
  find("PQfreemem", functions.PQfreemem);
  find("PQgetCopyData", functions.PQgetCopyData);
  find("PQgetResult", functions.PQgetResult);
  find("PQgetisnull", functions.PQgetisnull);
  find("PQgetlength", functions.PQgetlength);
  find("PQgetvalue", functions.PQgetvalue);
  find("PQhost", functions.PQhost);
  find("PQhostaddr", functions.PQhostaddr);
  find("PQisBusy", functions.PQisBusy);
  find("PQlibVersion", functions.PQlibVersion);
  find("PQnotifies", functions.PQnotifies);
  find("PQntuples", functions.PQntuples);
  find("PQpipelineSync", functions.PQpipelineSync);
  find("PQport", functions.PQport);
  find("PQresultErrorMessage", functions.PQresultErrorMessage);
  find("PQresultStatus", functions.PQresultStatus);
  find("PQsendQuery", functions.PQsendQuery);
  find("PQsendQueryParams", functions.PQsendQueryParams);
  find("PQsetNoticeProcessor", functions.PQsetNoticeProcessor);
  find("PQsetnonblocking", functions.PQsetnonblocking);
  find("PQsocket", functions.PQsocket);
  find("PQstatus", functions.PQstatus);
  return functions;
}

}  // namespace

const Libpq& pq() {
  static const Libpq loaded = load();
  return loaded;
}

std::string pq_words(std::string_view said) {
  std::string text;
  bool quotes = false;
  while (!said.empty()) {
    std::string_view line = said.substr(0, said.find('\n'));
    said.remove_prefix(std::min(line.size() + 1, said.size()));
    line.remove_prefix(std::min(line.find_first_not_of("\t "), line.size()));
    const bool guesses = line.starts_with("This probably means") || line.starts_with("before or while processing") ||
                         line.starts_with("Is the server running");
    const bool points = std::exchange(quotes, line.starts_with("LINE "));  // at a place in the statement: "  ^"
    if (line.empty() || guesses || quotes || points) continue;
    text += (text.empty() ? "" : "; ") + std::string(line);
  }
  return text;
}

}  // namespace sallyport
