#include "cache/shared/libpq.h"

#include <dlfcn.h>

#include <algorithm>
#include <type_traits>

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
  for (const char c : said) {
    const bool blank = c == '\n' || c == '\t' || c == ' ';
    if (!blank) text += c;
    if (blank && !text.empty() && text.back() != ' ') text += ' ';
  }
  text.resize(std::min(text.find("This probably means"), text.size()));
  while (text.ends_with(' ')) text.pop_back();
  return text;
}

}  // namespace sallyport
